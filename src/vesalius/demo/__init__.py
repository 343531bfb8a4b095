"""Vesalius at work on real images that packages carry, and a page of what it answers."""
