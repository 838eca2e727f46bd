"""The systems that a bench measures: models, metrics, and predictions files."""
