"""What a data file says: items, labels, the names of the classes; or which line cannot be used."""
