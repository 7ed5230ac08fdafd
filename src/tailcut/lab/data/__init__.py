"""Data with given and true labels."""
