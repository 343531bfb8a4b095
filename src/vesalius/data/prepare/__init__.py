"""Bring a downloaded original, or a user's own files, into the layout that training reads.

`find_samples` or `find_custom` says what there is, `prepare` writes it; the rest are their parts.
"""

from vesalius.data.prepare.custom import CustomConfig, find_custom
from vesalius.data.prepare.originals import find_samples
from vesalius.data.prepare.run import PreparePlan, prepare
from vesalius.data.prepare.samples import FoundSamples, PrepareReport, Problem, SourceSample
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.splitting import ExistingAnnotations, SplitConfig, read_existing
from vesalius.data.prepare.volumes import SliceConfig

__all__ = [
    "CustomConfig",
    "FoundSamples",
    "ExistingAnnotations",
    "SourceSample",
    "PreparePlan",
    "PrepareReport",
    "Problem",
    "SliceConfig",
    "Source",
    "SplitConfig",
    "find_custom",
    "find_samples",
    "prepare",
    "read_existing",
]
