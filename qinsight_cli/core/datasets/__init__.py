"""One reader per published dataset: its original layout in, manifest rows out."""
