"""What the package carries: trained weights, graphs for them and a vocabulary."""

from importlib.resources import files
from pathlib import Path

WEIGHTS = Path(str(files("vesalius.models") / "weights"))
PHRASES = WEIGHTS / "phrases.safetensors"
"""Sentence vectors of all names, by pocket's encoder, for ``vesalius.prompts.targets``."""
EMBEDDED = {"pocket": WEIGHTS / "pocket.safetensors"}
"""Models whose trained weights the package carries."""
GRAPHS = {"pocket": WEIGHTS / "pocket"}
"""Folders of graphs without weights, which any checkpoint of the model with its default options fits."""
