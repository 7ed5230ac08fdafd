"""The command line: words to options, options to work, and what is printed of it."""
