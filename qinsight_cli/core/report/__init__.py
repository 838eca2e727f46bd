"""What people see: tables, CSV and JSON lines, progress, plots."""
