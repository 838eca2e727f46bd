"""The page of `qinsight serve`: pictures are dropped on it and judged while one looks on."""
