"""The readers, a file for each form of data; a file put here is found and registers itself."""
