"""The protocol of an MR series: the first rule that applies decides, unless a later one contradicts it."""

from collections.abc import Mapping
from types import MappingProxyType

from vesalius.imaging.header import Finding
from vesalius.imaging.mr_facts import MRFacts
from vesalius.imaging.mr_rules import RULES

PROTOCOLS = ("T1", "T2", "FLAIR", "DWI", "ADC", "STIR")
"""What a series can be called; PD, T2* and others are recognised and called unknown."""

GOES_WITH: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "T1": frozenset(),
        "T2": frozenset(),
        "FLAIR": frozenset({"T2"}),
        "STIR": frozenset({"T1", "T2", "PD"}),
        "DWI": frozenset({"T2", "T2*", "PD", "STIR", "FLAIR"}),
        "ADC": frozenset({"T2", "T2*", "PD", "STIR", "FLAIR", "DWI"}),
    }
)
"""What later rules may say beside a protocol: a FLAIR is T2 too, an ADC map comes from DWI."""


def find_protocol(header: Mapping[str, str]) -> Finding:
    """Tell the protocol of an MR series from its header.

    Args:
        header: Attributes by keyword, as in `MedicalImage.header`.

    Returns:
        One of `PROTOCOLS`, or no label with the reason as source: nothing tells, attributes contradict one another, or
        the technique is none of them.

    Example:
        >>> find_protocol({"ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "100"})
        Finding(label='T2', confidence=0.7, source='SE, TR 4000 ms, TE 100 ms')
    """
    facts = MRFacts(header)
    said = [finding for rule in RULES if (finding := rule(facts)) is not None]
    if not said:
        return Finding(None, 0.0, "no attribute tells")
    first, label = said[0], said[0].label
    if label not in PROTOCOLS:
        return Finding(None, 0.0, f"{first.source}: {label} is none of {', '.join(PROTOCOLS)}")
    for other in said[1:]:
        if other.label != label and other.label not in GOES_WITH[label]:
            return Finding(None, 0.0, f"{first.source} says {label}, but {other.source} says {other.label}")
    return first
