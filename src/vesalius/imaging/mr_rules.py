"""The rules that tell an MR series' protocol from its header, one function each."""

import re
from collections.abc import Callable

from vesalius.imaging.header import Finding, quote
from vesalius.imaging.mr_facts import MRFacts

TECHNIQUE, FLAG, WORDS, PHYSICS = 0.95, 0.90, 0.85, 0.70
"""Confidence in what each kind of evidence says."""

CONTRASTS = {"FLUID_ATTENUATED": "FLAIR", "DIFFUSION": "DWI", "PROTON_DENSITY": "PD", "T2_STAR": "T2*"}
"""Enhanced MR's AcquisitionContrast where it is called otherwise here."""
NO_CONTRAST = {"MIXED", "UNKNOWN"}
DIFFUSION_TYPES = {"DIFFUSION", "TRACEW"}

ADC_WORDS = re.compile(r"\be?adc\b|apparent ?diff")
DWI_WORDS = re.compile(r"\b(?:\w*dwi\w*|dti|trace\w*)\b|\bdiff(?:usion)?\b|\bb ?\d{3,4}\b")
DARK_FLUID = re.compile(r"flair|dark ?fluid|fluid ?att")
STIR_WORDS = re.compile(r"stir|tirm")
OTHERS = re.compile(
    r"tru(?:e ?)?fi|fiesta|b ?ffe|\bbal(?:anced)?\b|ssfp|angio|\b(?:tof|mra|swi|swan|asl|bold|fmri)\b|\bperf"
)
"""Balanced steady state, angiography and functional techniques, whose times would be misread."""
T2_STAR_WORDS = re.compile(r"t2 ?(?:\*|star)")
T1_WORDS = re.compile(r"(?:^|[ s])t1(?! ?(?:rho|map)|\d)\w*|mprage|\bvibe|\blava\b|\bflash|spgr|\bbravo\b")
T2_WORDS = re.compile(r"(?:^|[ s])t2(?! ?(?:\*|star|map|prep)|\d)\w*|\bhaste|ssfse|\btse t2|\bblade\b")
LEAST_SINGLE_SHOT_ECHOES = 64

Rule = Callable[[MRFacts], Finding | None]


def acquisition_contrast(facts: MRFacts) -> Finding | None:
    """Enhanced MR names its contrast."""
    contrast = facts.header.get("AcquisitionContrast", "").strip().upper()
    if not contrast or contrast in NO_CONTRAST:
        return None
    return Finding(CONTRASTS.get(contrast, contrast), TECHNIQUE, quote("AcquisitionContrast", contrast))


def diffusion_coefficient(facts: MRFacts) -> Finding | None:
    """ADC by image type or words."""
    if "ADC" in facts.values("ImageType"):
        return Finding("ADC", TECHNIQUE, quote("ImageType", facts.header["ImageType"]))
    return _by_words("ADC", facts, ADC_WORDS)


def diffusion(facts: MRFacts) -> Finding | None:
    """DWI by image type, b-value, the name of the sequence, or words."""
    if DIFFUSION_TYPES & set(facts.values("ImageType")):
        return Finding("DWI", TECHNIQUE, quote("ImageType", facts.header["ImageType"]))
    if (facts.number("DiffusionBValue") or 0) > 0:
        return Finding("DWI", TECHNIQUE, quote("DiffusionBValue", facts.header["DiffusionBValue"]))
    if "ep_b" in facts.header.get("SequenceName", "").lower():
        return Finding("DWI", FLAG, quote("SequenceName", facts.header["SequenceName"]))
    return _by_words("DWI", facts, DWI_WORDS)


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


def other_technique(facts: MRFacts) -> Finding | None:
    """Techniques that have none of the protocols' contrasts."""
    source = facts.find_words(OTHERS)
    return Finding("another technique", WORDS, source) if source else None


def t2_star_words(facts: MRFacts) -> Finding | None:
    """T2* in words."""
    return _by_words("T2*", facts, T2_STAR_WORDS)


def t1_words(facts: MRFacts) -> Finding | None:
    """T1 in words, or a sequence that is always run so."""
    return _by_words("T1", facts, T1_WORDS)


def t2_words(facts: MRFacts) -> Finding | None:
    """T2 in words, or a sequence that is always run so."""
    return _by_words("T2", facts, T2_WORDS)


def single_shot(facts: MRFacts) -> Finding | None:
    """One long train of spin echoes is T2 whatever TR."""
    train = facts.number("EchoTrainLength") or 0
    if train < LEAST_SINGLE_SHOT_ECHOES or (facts.echo_ms or 0) < 50 or {"EP", "GR"} & facts.sequences:
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
    acquisition_contrast,
    diffusion_coefficient,
    diffusion,
    fluid_attenuation,
    fat_inversion,
    other_technique,
    t2_star_words,
    t1_words,
    t2_words,
    single_shot,
    spin_echo,
    gradient_echo,
    inversion_recovery,
)
"""In the order in which they decide."""


def _by_words(label: str, facts: MRFacts, pattern: re.Pattern[str]) -> Finding | None:
    source = facts.find_words(pattern)
    return Finding(label, WORDS, source) if source else None
