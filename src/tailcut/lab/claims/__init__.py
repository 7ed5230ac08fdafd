"""The claims of the theory, tested on studies."""
