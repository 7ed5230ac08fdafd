"""Experiments under controlled label noise: the only package that trains."""
