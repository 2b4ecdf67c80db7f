"""Open-Det: images in, curated and verified training data and an open-ended detector out."""

__version__ = "0.1.0"
