"""What can stand in a row of a table: models, metrics, predictions made elsewhere."""
