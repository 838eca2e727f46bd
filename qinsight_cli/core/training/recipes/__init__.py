"""Recipes: one YAML file each; every figure of a training run is a line in one of them."""
