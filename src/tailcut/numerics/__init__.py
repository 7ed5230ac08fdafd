"""Tensors in, frozen dataclasses out: no module, no file, no printing."""
