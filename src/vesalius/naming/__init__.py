"""Name what slices and series show: modality, protocol, plane, stations and organs."""

from vesalius.imaging.finding import FoundSeries, find_series
from vesalius.naming.audit import AuditLine, audit_series
from vesalius.naming.calibration import AuditRule, Calibration
from vesalius.naming.labeller import AnatomyLabeller
from vesalius.naming.names import Answer, LabelRange, SeriesName, SliceName
from vesalius.naming.strip import draw_strip
from vesalius.naming.tables import write_table

__all__ = [
    "AnatomyLabeller",
    "Answer",
    "AuditLine",
    "AuditRule",
    "Calibration",
    "FoundSeries",
    "LabelRange",
    "SeriesName",
    "SliceName",
    "audit_series",
    "draw_strip",
    "find_series",
    "write_table",
]
