"""What tailcut is compared with."""
