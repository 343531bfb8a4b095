"""What the header of an MR series says of its technique and times, whichever way it is written."""

from dataclasses import dataclass
from functools import cached_property

from vesalius.imaging.header import HeaderFacts

PULSES = {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}
"""Enhanced MR's EchoPulseSequence in the terms of ScanningSequence."""
MS_PER_S = 1000.0


@dataclass(frozen=True)
class MRFacts(HeaderFacts):
    """Header of an MR series; times in milliseconds."""

    @cached_property
    def sequences(self) -> frozenset[str]:
        """SE, IR, GR, EP, RM; those of an enhanced file are translated."""
        pulses = PULSES.get(self.header.get("EchoPulseSequence", "").upper(), set())
        inverted = {"IR"} if self.header.get("InversionRecovery", "").upper() == "YES" else set()
        return frozenset(self.values("ScanningSequence")) | pulses | inverted

    @cached_property
    def echo_ms(self) -> float | None:
        """TE."""
        return self._time("EchoTime", "EffectiveEchoTime")

    @cached_property
    def repetition_ms(self) -> float | None:
        """TR."""
        return self._time("RepetitionTime")

    @cached_property
    def inversion_ms(self) -> float | None:
        """TI; None where it is 0, as scanners write when there is no inversion."""
        return self._time("InversionTime", "InversionTimes") or None

    @cached_property
    def in_seconds(self) -> bool:
        """Whether some program has stored seconds: no scanner has TE below 1 ms with TR below 30 ms on clinical images.

        Times of a BIDS file, always in seconds, are converted when it is read.
        """
        echo, repetition = self.number("EchoTime", "EffectiveEchoTime"), self.number("RepetitionTime")
        return echo is not None and repetition is not None and 0 < echo < 1 and 0 < repetition < 30

    def _time(self, *keywords: str) -> float | None:
        time = self.number(*keywords)
        return time * MS_PER_S if time is not None and self.in_seconds else time
