"""All words that attributes can get; the benchmark's own where it has one. Loads nothing, so templates can ask."""

NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
"""Numbers in words; larger ones are written in digits."""
SIZES = ("tiny", "small", "medium", "large")
PLACES = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
"""Cells of a 3 × 3 grid over the image, row by row. They are sides of the picture, never of the patient."""
SHAPES = ("circle", "irregular", "oval", "rectangular", "round", "square", "triangular")
COLOURS = ("black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow")
