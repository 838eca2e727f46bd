"""The HTML gallery: rows with their pictures on pages that need no network, worst first, to sort, filter and search."""
