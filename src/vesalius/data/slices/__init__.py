"""Labelled slices for naming, cut from volumes with outlined structures.

`vesalius.data.slices.dataset` reads them back for training; it loads torch and so is not imported here.
"""

from vesalius.data.slices.run import CutReport, cut_slices
from vesalius.data.slices.series_table import SeriesDescription
from vesalius.data.slices.sources import CutSettings, find_volumes

__all__ = ["CutReport", "CutSettings", "SeriesDescription", "cut_slices", "find_volumes"]
