"""What is written: files that appear whole, and tensors and JSON in them."""
