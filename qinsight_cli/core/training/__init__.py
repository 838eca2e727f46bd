"""Training: from a recipe and manifests to a checkpoint."""
