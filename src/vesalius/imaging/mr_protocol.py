"""The protocol of an MR series from its header: the first rule that applies decides, unless a later contradicts it.

First the facts, then the rules in the order in which they decide, then `find_protocol`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

from vesalius.imaging.header import Finding, HeaderFacts, quote

PULSES = {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}
"""EchoPulseSequence of enhanced MR -> the terms of ScanningSequence."""
MS_PER_S = 1000.0
LONGEST_ECHO_S, LONGEST_GRADIENT_ECHO_S = 0.3, 0.08
"""Echo times of any sequence and of gradient echoes alone, from which on they are not taken for seconds."""


@dataclass(frozen=True)
class MRFacts(HeaderFacts):
    """Header of an MR series; times in milliseconds."""

    @cached_property
    def sequences(self) -> frozenset[str]:
        """Scanning sequences: SE, IR, GR, EP, RM; those of an enhanced file are translated."""
        pulses = PULSES.get(self.header.get("EchoPulseSequence", "").upper(), set())
        inverted = {"IR"} if self.header.get("InversionRecovery", "").upper() == "YES" else set()
        return frozenset(self.values("ScanningSequence")) | pulses | inverted

    @cached_property
    def echo_ms(self) -> float | None:
        """Echo time TE."""
        return self._time("EchoTime", "EffectiveEchoTime")

    @cached_property
    def repetition_ms(self) -> float | None:
        """Repetition time TR."""
        return self._time("RepetitionTime")

    @cached_property
    def inversion_ms(self) -> float | None:
        """Inversion time TI; scanners write 0 without an inversion."""
        return self._time("InversionTime", "InversionTimes")

    @cached_property
    def in_seconds(self) -> bool:
        """Whether times are in seconds, as some programs store: both are short, and TE in seconds is one that is used.

        A TE of 0.87 with a TR of 2.6 is that of a fast gradient echo in milliseconds. Times of a BIDS file, always in
        seconds, are converted when it is read.
        """
        echo, repetition = self._positive("EchoTime", "EffectiveEchoTime"), self._positive("RepetitionTime")
        longest = LONGEST_GRADIENT_ECHO_S if self.sequences == {"GR"} else LONGEST_ECHO_S
        return echo is not None and repetition is not None and echo < longest and repetition < 30

    def _time(self, *keywords: str) -> float | None:
        time = self._positive(*keywords)
        return time * MS_PER_S if time is not None and self.in_seconds else time

    def _positive(self, *keywords: str) -> float | None:
        """The first value above 0 of several attributes; 0 and less say nothing of a time."""
        return next((number for keyword in keywords for number in self.numbers(keyword) if number > 0), None)


TECHNIQUE, FLAG, WORDS, PHYSICS = 0.95, 0.90, 0.85, 0.70
"""Confidence of each kind of evidence."""

CONTRASTS = {"FLUID_ATTENUATED": "FLAIR", "DIFFUSION": "DWI", "PROTON_DENSITY": "PD", "T2_STAR": "T2*"}
"""AcquisitionContrast of enhanced MR -> our label, where they differ."""
NO_CONTRAST = {"MIXED", "UNKNOWN"}
OTHER = "another technique"
DIFFUSION_TYPES = {"DIFFUSION", "TRACEW"}
MAP_TYPES = re.compile(r"FA|FRACTIONAL[ _]ANISOTROPY|(?!E?ADC).+[ _]MAP")
"""Types of images whose values are computed quantities, ADC apart."""

ADC_WORDS = re.compile(r"\be?adc\b|apparent ?diff")
DWI_WORDS = re.compile(r"\b(?:\w*dwi\w*|dti|trace\w*)\b|\bdiff(?:usion)?\b|\bb ?\d{3,4}\b")
DARK_FLUID = re.compile(r"flair|dark ?fluid|fluid ?att")
STIR_WORDS = re.compile(r"(?:stir|tirm)(?![a-z])")
OTHER_WORDS = re.compile(
    r"tru(?:e ?)?fi|fiesta|b ?ffe|\bbal(?:anced)?\b|ssfp|angio|\bperf"
    r"|\b(?:(?:[23]d)?tof(?:[23]d)?|mra|swi|swan|asl|bold|fmri)\b"
)
"""Balanced steady state, angiography and functional techniques, whose times would be misread."""
T2_STAR_WORDS = re.compile(r"t2 ?(?:\*|star)")
PD_WORDS = re.compile(r"(?:^| )pd(?:w|fs)?\b|proton ?dens")
T1_WORDS = re.compile(r"(?:^|[ s])t1(?! ?(?:rho|map)|\d)\w*|mprage|\bvibe|\blava\b|\bflash|spgr|\bbravo\b")
T2_WORDS = re.compile(r"(?:^|[ s])t2(?! ?(?:\*|star|map|prep)|\d)\w*|\bhaste|ssfse|\btse t2|\bblade\b")
MIN_SINGLE_SHOT_ECHOES = 64

Rule = Callable[[MRFacts], Finding | None]


def by_words(label: str, pattern: re.Pattern[str], facts: MRFacts) -> Finding | None:
    """A label where a description has one of its words, or names a sequence that always has that weighting."""
    source = facts.find_words(pattern)
    return Finding(label, WORDS, source) if source else None


def computed_map(facts: MRFacts) -> Finding | None:
    """Maps by image type: anisotropy looks unlike diffusion, and a map of T1 unlike T1 weighting."""
    if not any(map(MAP_TYPES.fullmatch, facts.values("ImageType"))):
        return None
    return Finding(OTHER, TECHNIQUE, quote("ImageType", facts.header["ImageType"]))


def acquisition_contrast(facts: MRFacts) -> Finding | None:
    """The contrast that enhanced MR names."""
    contrast = facts.header.get("AcquisitionContrast", "").strip().upper()
    if not contrast or contrast in NO_CONTRAST:
        return None
    return Finding(CONTRASTS.get(contrast, contrast), TECHNIQUE, quote("AcquisitionContrast", contrast))


def diffusion_coefficient(facts: MRFacts) -> Finding | None:
    """ADC by image type or words."""
    if "ADC" in facts.values("ImageType"):
        return Finding("ADC", TECHNIQUE, quote("ImageType", facts.header["ImageType"]))
    return by_words("ADC", ADC_WORDS, facts)


def diffusion(facts: MRFacts) -> Finding | None:
    """DWI by image type, b-value, the name of the sequence, or words."""
    if DIFFUSION_TYPES & set(facts.values("ImageType")):
        return Finding("DWI", TECHNIQUE, quote("ImageType", facts.header["ImageType"]))
    if max(facts.numbers("DiffusionBValue"), default=0) > 0:
        return Finding("DWI", TECHNIQUE, quote("DiffusionBValue", facts.header["DiffusionBValue"]))
    if "ep_b" in facts.header.get("SequenceName", "").lower():
        return Finding("DWI", FLAG, quote("SequenceName", facts.header["SequenceName"]))
    return by_words("DWI", DWI_WORDS, facts)


def fluid_attenuation(facts: MRFacts) -> Finding | None:
    """FLAIR by words, or an inversion that nulls fluid; with a short echo it is weighted by T1."""
    echo, inversion = facts.echo_ms, facts.inversion_ms
    if source := facts.find_words(DARK_FLUID):
        if echo is not None and echo < 40:
            return Finding("T1", WORDS, f"{source}, TE {echo:g} ms")
        return Finding("FLAIR", WORDS, source)
    if "IR" in facts.sequences and inversion is not None and 1500 <= inversion <= 3000 and (echo or 0) >= 40:
        return Finding("FLAIR", FLAG, f"IR, TI {inversion:g} ms, TE {echo:g} ms")
    return None


def fat_inversion(facts: MRFacts) -> Finding | None:
    """STIR by words, or an inversion that nulls fat."""
    if facts.find_words(DARK_FLUID):
        return None
    if source := facts.find_words(STIR_WORDS):
        return Finding("STIR", WORDS, source)
    if "IR" in facts.sequences and facts.inversion_ms is not None and facts.inversion_ms < 300:
        return Finding("STIR", FLAG, f"IR, TI {facts.inversion_ms:g} ms")
    return None


def proton_density(facts: MRFacts) -> Finding | None:
    """PD by words, unless others name the second contrast of a double echo."""
    if facts.find_words(T1_WORDS) or facts.find_words(T2_WORDS):
        return None
    return by_words("PD", PD_WORDS, facts)


def single_shot(facts: MRFacts) -> Finding | None:
    """One long train of spin echoes is T2 whatever TR."""
    train = max(facts.numbers("EchoTrainLength"), default=0)
    if train < MIN_SINGLE_SHOT_ECHOES or (facts.echo_ms or 0) < 50 or {"EP", "GR"} & facts.sequences:
        return None
    return Finding("T2", PHYSICS, f"EchoTrainLength {train:g}, TE {facts.echo_ms:g} ms")


def spin_echo(facts: MRFacts) -> Finding | None:
    """Weighting of a spin echo by its times."""
    repetition, echo = facts.repetition_ms, facts.echo_ms
    if "SE" not in facts.sequences or {"IR", "GR"} & facts.sequences or repetition is None or echo is None:
        return None
    label = None
    if repetition < 1000 and echo < 30:
        label = "T1"
    elif repetition > 2000 and echo > 50:
        label = "T2"
    elif repetition > 2000 and echo < 30:
        label = "PD"
    return Finding(label, PHYSICS, f"SE, TR {repetition:g} ms, TE {echo:g} ms") if label else None


def gradient_echo(facts: MRFacts) -> Finding | None:
    """Weighting of a gradient echo by its echo time."""
    echo = facts.echo_ms
    if "GR" not in facts.sequences or echo is None or 10 <= echo <= 15:
        return None
    return Finding("T1" if echo < 10 else "T2*", PHYSICS, f"GR, TE {echo:g} ms")


def inversion_recovery(facts: MRFacts) -> Finding | None:
    """An inversion between those that null fat and fluid weights by T1."""
    inversion = facts.inversion_ms
    if "IR" not in facts.sequences or inversion is None or not 300 <= inversion < 1500:
        return None
    return Finding("T1", PHYSICS, f"IR, TI {inversion:g} ms")


RULES: tuple[Rule, ...] = (
    computed_map,
    acquisition_contrast,
    diffusion_coefficient,
    diffusion,
    fluid_attenuation,
    fat_inversion,
    partial(by_words, OTHER, OTHER_WORDS),
    partial(by_words, "T2*", T2_STAR_WORDS),
    proton_density,
    partial(by_words, "T1", T1_WORDS),
    partial(by_words, "T2", T2_WORDS),
    single_shot,
    spin_echo,
    gradient_echo,
    inversion_recovery,
)
"""All rules, in the order in which they decide."""


PROTOCOLS = ("T1", "T2", "FLAIR", "DWI", "ADC", "STIR")
"""Labels of series; PD, T2* and other techniques are recognised and called unknown."""

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
"""Labels of later rules that do not contradict a protocol: a FLAIR is T2 too, an ADC map comes from DWI."""


def find_protocol(header: Mapping[str, str]) -> Finding:
    """Find the protocol of an MR series in its header.

    Args:
        header: Attributes by keyword, as in `MedicalImage.header`.

    Returns:
        One of `PROTOCOLS`, or no label with the reason as source: no rule applies, rules contradict one another, or the
        technique is none of them.

    Example:
        >>> find_protocol({"ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "100"})
        Finding(label='T2', confidence=0.7, source='SE, TR 4000 ms, TE 100 ms')
    """
    facts = MRFacts(header)
    findings = [finding for rule in RULES if (finding := rule(facts)) is not None]
    if not findings:
        return Finding(None, 0.0, "no attribute tells")
    first, label = findings[0], findings[0].label
    if label not in PROTOCOLS:
        return Finding(None, 0.0, f"{first.source}: {label} is none of {', '.join(PROTOCOLS)}")
    for other in findings[1:]:
        if other.label != label and other.label not in GOES_WITH[label]:
            return Finding(None, 0.0, f"{first.source} says {label}, but {other.source} says {other.label}")
    return first
