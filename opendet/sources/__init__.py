"""Readers of image sources: what lies in a folder, before anybody judged it."""
