"""What people see: tables, CSV and JSON lines, HTML, plots."""
