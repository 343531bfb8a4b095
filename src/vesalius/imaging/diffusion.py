"""The b-value where scanners kept it before DICOM had an attribute for it."""

from pydicom.dataset import Dataset

VENDOR_B_VALUES = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C),
    ("GEMS_PARM_01", 0x0043, 0x39),
    ("Philips Imaging DD 001", 0x2001, 0x03),
)
"""Private creator, group and element."""

GE_MARK = 1_000_000_000
"""GE adds this, or a multiple, to the b-values of some series."""


def vendor_b_value(dataset: Dataset) -> float | None:
    """b-value in s/mm² from a private attribute; None if there is none, or none that is a number."""
    for creator, group, element in VENDOR_B_VALUES:
        try:
            value = dataset.private_block(group, creator)[element].value
            first = value if isinstance(value, str | int | float) else value[0]
            return float(first) % GE_MARK
        except (KeyError, TypeError, ValueError, IndexError):
            continue
    return None
