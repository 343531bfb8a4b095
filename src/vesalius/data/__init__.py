"""Data sets on disk, and what a model sees of them."""
