"""qinsight: rate pictures, name their degradation, compare them, and say why."""

__version__ = "0.1.0"
