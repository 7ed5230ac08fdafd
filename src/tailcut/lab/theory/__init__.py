"""Small synthetic models in which theory says what label noise does, next to what it did."""
