"""Output for people and scripts: tables, CSV and JSON lines, progress bars, plots, galleries."""
