"""Name what slices and series show: modality, protocol, plane, stations and organs."""

from vesalius.naming.audit import AuditLine, audit_series
from vesalius.naming.labeller import AnatomyLabeller
from vesalius.naming.labels import Answer, LabelRange, SeriesName, SliceName
from vesalius.naming.phrasebook import AuditRule, NamingCalibration
from vesalius.naming.strip import draw_strip
from vesalius.naming.tables import NamingResult, write_table

__all__ = [
    "AnatomyLabeller",
    "Answer",
    "AuditLine",
    "AuditRule",
    "LabelRange",
    "NamingCalibration",
    "NamingResult",
    "SeriesName",
    "SliceName",
    "audit_series",
    "draw_strip",
    "write_table",
]
