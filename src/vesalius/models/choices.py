"""Which model is opened, in which program and in which numbers: what commands and Python ask for, loading nothing."""

from typing import Literal

DEFAULT_MODEL = "pocket"
RuntimeChoice = Literal["auto", "onnx", "torch"]
"""Program that runs a model; "auto" is the first that fits."""
Precision = Literal["32", "16-mixed", "bf16-mixed"]
"""Arithmetic: 32-bit floats, or 16 bits where PyTorch's automatic mixed precision uses them."""
