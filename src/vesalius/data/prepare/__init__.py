"""From a downloaded original, or one's own files, to the layout that training reads.

`find_items` or `find_custom` says what there is, `prepare` writes it; the rest are their parts.
"""

from vesalius.data.prepare.custom import CustomConfig, find_custom
from vesalius.data.prepare.items import Found, Item, PrepareReport, Problem
from vesalius.data.prepare.originals import find_items
from vesalius.data.prepare.run import Plan, prepare
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.splitting import Given, SplitConfig, read_given
from vesalius.data.prepare.volumes import SliceConfig

__all__ = [
    "CustomConfig",
    "Found",
    "Given",
    "Item",
    "Plan",
    "PrepareReport",
    "Problem",
    "SliceConfig",
    "Source",
    "SplitConfig",
    "find_custom",
    "find_items",
    "prepare",
    "read_given",
]
