"""Train models whose images and captions share a space."""
