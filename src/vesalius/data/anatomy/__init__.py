"""Labelled slices for naming, cut from volumes with outlined structures.

`vesalius.data.anatomy.dataset` reads them back for training; it loads torch and so is not imported here.
"""

from vesalius.data.anatomy.run import CutReport, cut_slices
from vesalius.data.anatomy.settings import CutSettings, Said
from vesalius.data.anatomy.sources import find_volumes

__all__ = ["CutReport", "CutSettings", "Said", "cut_slices", "find_volumes"]
