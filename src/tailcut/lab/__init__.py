"""Experiments under controlled label noise: the only room that trains."""
