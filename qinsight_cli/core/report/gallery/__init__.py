"""The HTML gallery: rows with their pictures, worst first, to sort, filter and search without a network."""
