import pytest

from vesalius.imaging.mr_protocol import GOES_WITH, PROTOCOLS, find_protocol
from vesalius.prompts import anatomy


def header(**attributes: object) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items()}


SPIN = {"ScanningSequence": "SE"}
FOUND = {
    "enhanced T2": (header(AcquisitionContrast="T2"), "T2", 0.95),
    "enhanced FLAIR": (header(AcquisitionContrast="FLUID_ATTENUATED"), "FLAIR", 0.95),
    "enhanced diffusion": (header(AcquisitionContrast="DIFFUSION", SeriesDescription="ep2d"), "DWI", 0.95),
    "enhanced spin echo": (header(EchoPulseSequence="SPIN", RepetitionTime=4000, EffectiveEchoTime=90), "T2", 0.7),
    "ADC type": (header(ImageType="DERIVED\\PRIMARY\\DIFFUSION\\ADC", SeriesDescription="ep2d_diff_ADC"), "ADC", 0.95),
    "ADC words": (header(SeriesDescription="Apparent Diffusion Coefficient"), "ADC", 0.85),
    "trace": (header(ImageType="DERIVED\\PRIMARY\\TRACEW"), "DWI", 0.95),
    "b-value": (header(DiffusionBValue="1000"), "DWI", 0.95),
    "b-value of none": (header(DiffusionBValue="0", SeriesDescription="T2W"), "T2", 0.85),
    "sequence name": (header(SequenceName="*ep_b50t"), "DWI", 0.9),
    "b in words": (header(SeriesDescription="AX b800"), "DWI", 0.85),
    "FLAIR and T2 in words": (header(SeriesDescription="T2 FLAIR", EchoTime=120, RepetitionTime=9000), "FLAIR", 0.85),
    "T1 FLAIR": (header(SeriesDescription="T1 FLAIR", EchoTime=12, RepetitionTime=2500), "T1", 0.85),
    "FLAIR by inversion": (
        header(ScanningSequence="SE\\IR", InversionTime=2500, EchoTime=100, RepetitionTime=9000), "FLAIR", 0.9,
    ),
    "STIR in words": (header(SeriesDescription="cor t2_tirm"), "STIR", 0.85),
    "dark fluid TIRM": (header(SeriesDescription="t2_tirm_tra_dark-fluid", EchoTime=90), "FLAIR", 0.85),
    "STIR by inversion": (
        header(ScanningSequence="IR", InversionTime=160, EchoTime=30, RepetitionTime=4000), "STIR", 0.9,
    ),
    "T1 between underscores": (header(ProtocolName="t1_vibe_fs_tra"), "T1", 0.85),
    "MPRAGE": (header(SeriesDescription="MPRAGE", ScanningSequence="GR\\IR", EchoTime=3), "T1", 0.85),
    "HASTE": (header(SeriesDescription="HASTE cor"), "T2", 0.85),
    "T1 by times": (header(**SPIN, RepetitionTime=580, EchoTime=15), "T1", 0.7),
    "T2 by times": (header(**SPIN, RepetitionTime=4000, EchoTime=100), "T2", 0.7),
    "single shot": (header(**SPIN, RepetitionTime=1200, EchoTime=90, EchoTrainLength=128), "T2", 0.7),
    "gradient echo": (header(ScanningSequence="GR", RepetitionTime=6, EchoTime=3), "T1", 0.7),
    "T1 by inversion": (header(ScanningSequence="IR", InversionTime=700), "T1", 0.7),
    "seconds": (header(**SPIN, RepetitionTime=4, EchoTime=0.1), "T2", 0.7),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_first_rule_that_applies_decides(case):
    attributes, label, confidence = FOUND[case]
    found = find_protocol(attributes)
    assert (found.label, found.confidence) == (label, confidence), found.source


UNKNOWN = {
    "nothing": ({}, "no attribute tells"),
    "T1 in words and T2 by times": (
        header(**SPIN, SeriesDescription="T1", RepetitionTime=4000, EchoTime=100),
        "says T2",
    ),
    "T2 in words and T2* by times": (
        header(SeriesDescription="T2W EPI", ScanningSequence="GR", EchoTime=40),
        "says T2*",
    ),
    "T1 and T2 in words": (header(SeriesDescription="T1 T2"), "says T2"),
    "enhanced T1 and FLAIR in words": (header(AcquisitionContrast="T1", SeriesDescription="FLAIR"), "says FLAIR"),
    "T2*": (header(SeriesDescription="T2*_gre"), "T2* is none of"),
    "T2 star": (header(SeriesDescription="t2_star"), "T2* is none of"),
    "proton density": (header(**SPIN, RepetitionTime=3000, EchoTime=20), "PD is none of"),
    "balanced": (header(SeriesDescription="trufi cine", ScanningSequence="GR", EchoTime=2), "another technique"),
    "angiography": (header(SeriesDescription="3D TOF", ScanningSequence="GR", EchoTime=4), "another technique"),
    "perfusion": (header(AcquisitionContrast="PERFUSION"), "PERFUSION is none of"),
    "T1 rho": (header(SeriesDescription="T1rho"), "no attribute tells"),
    "T1 map": (header(SeriesDescription="T1 map"), "no attribute tells"),
    "T2 map": (header(SeriesDescription="T2_map"), "no attribute tells"),
    "times between": (header(**SPIN, RepetitionTime=1500, EchoTime=40), "no attribute tells"),
    "no number": (header(**SPIN, RepetitionTime="fast", EchoTime="short"), "no attribute tells"),
    "no inversion": (header(ScanningSequence="RM", InversionTime=0, EchoTime=1.2), "no attribute tells"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_nothing_tells_or_two_contradict_is_unknown_and_says_why(case):
    attributes, reason = UNKNOWN[case]
    found = find_protocol(attributes)
    assert found.label is None
    assert found.confidence == 0
    assert reason in found.source


def test_the_protocols_are_those_that_captions_know():
    assert set(PROTOCOLS) == set(anatomy.PROTOCOLS) == GOES_WITH.keys()
