"""Small networks of every family: a file for each library, all of them in `FAMILIES`."""

from families import hugging_face, timm_vision, vision

FAMILIES = [*vision.FAMILIES, *timm_vision.FAMILIES, *hugging_face.FAMILIES]
