"""Label noise, one file for what it looks at."""
