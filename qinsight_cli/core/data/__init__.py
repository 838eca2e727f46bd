"""From a dataset as its authors ship it, or photos, to checked manifests."""
