"""Output for people and scripts: tables, CSV and JSON lines, progress, plots."""
