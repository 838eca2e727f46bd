"""The page of `qinsight serve`: the user drops pictures on it and watches the model judge them."""
