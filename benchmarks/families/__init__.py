"""Small networks of every family: a file for each library, all of them in `FAMILIES`."""

from families import hugging_face, own, timm_vision, vision

FAMILIES = [*own.FAMILIES, *vision.FAMILIES, *timm_vision.FAMILIES, *hugging_face.FAMILIES]
