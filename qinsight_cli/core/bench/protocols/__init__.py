"""How the answers of a task become the figures of a table."""
