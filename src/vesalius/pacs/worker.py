"""What is done with a series that is whole: the rules that fit it, results as DICOM, and on their way back."""

import math
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pydicom import dcmread

from vesalius.clinical.work import DicomFiles, report_names, segment_to_dicom
from vesalius.console import say
from vesalius.errors import ConfigError, ImageError, OutputError, PromptError, VesaliusError, join_first, unknown_name
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.imaging.safeguards import quiet
from vesalius.naming.labeller import AnatomyLabeller, choose_stacks
from vesalius.pacs.rules import PacsRules, Rule, SeriesFacts
from vesalius.pacs.sending import send
from vesalius.pacs.series_queue import QueuedSeries, SeriesQueue, State
from vesalius.predict import Predictor
from vesalius.segmenting.request import Request

LOOK_S = 0.5
"""Between looks into an empty queue."""
TIDY_S = 600.0
"""Between removals of what is old."""
TROUBLE_S = 30.0
"""After the queue itself could not be used."""
FACTS = ("Modality", "BodyPartExamined", "SeriesDescription", "StudyDescription")


class Worker:
    """Works on one series at a time; several processes may share a queue.

    Args:
        queue: Where series wait.
        rules: What to do with them.
        model: That segments and names.
        own_aet: How it calls itself where it sends results.
    """

    def __init__(self, queue: SeriesQueue, rules: PacsRules, model: str, own_aet: str) -> None:
        self.queue, self.rules, self.model, self.own_aet = queue, rules, model, own_aet

    def run(self, stopped: threading.Event) -> None:
        """Work until it is told to stop, and remove old series now and then, however busy it is."""
        tidied = -math.inf
        while not stopped.is_set():
            try:
                if time.monotonic() - tidied >= TIDY_S:
                    self.queue.remove_done(self.rules.queue.keep_seconds)
                    tidied = time.monotonic()
                if not self.step():
                    stopped.wait(LOOK_S)
            except OutputError as error:  # of the queue's own disk, which may have room again
                say(error)
                stopped.wait(TROUBLE_S)

    def step(self) -> bool:
        """Work on a series that is due; False if there is none."""
        with self.queue.claim(self.rules.queue.rest_seconds) as series:
            if series is None:
                return False
            try:
                self._work(series)
            except (ImageError, PromptError, ConfigError) as error:  # the same tomorrow
                self.queue.refuse(series, str(error))
                say(f"series {series.short}: refused: {error}")
            except Exception as error:  # anything may go wrong with strangers' data, and the next series is waiting
                reason = str(error) if isinstance(error, VesaliusError) else type(error).__name__
                settings = self.rules.queue
                self.queue.fail(series, reason, attempts=settings.attempts, wait_s=settings.retry_seconds)
                say(f"series {series.short}: attempt {series.attempts + 1} of {settings.attempts} failed: {reason}")
        return True

    def _work(self, series: QueuedSeries) -> None:
        if series.state != State.MADE:
            results = tuple(self._make(series))
            if not self.queue.made(series, results):
                say(f"series {series.short}: slices arrived meanwhile; it is begun anew when it rests")
                return
            series = replace(series, state=State.MADE, results=results)
        for file, destination in series.results:
            if destination not in self.rules.destinations:
                raise OutputError(unknown_name("destination", destination, self.rules.destinations))
            send(self.queue.results_of(series) / file, self.rules.destinations[destination], self.own_aet)
        if self.queue.done(series):
            told = f"{len(series.results)} results sent" if series.results else "no rule fits"
            say(f"series {series.short}: done, {told}")

    def _make(self, series: QueuedSeries) -> Iterator[tuple[str, str]]:
        """Files and where each goes; begun anew if an attempt was broken off."""
        folder = self.queue.results_of(series)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        rules = self.rules.of(read_facts(series.folder))
        if rules:
            names = join_first(rule.name for rule in rules)
            say(f"series {series.short}: begun ({series.revision} instances; rules: {names})")
        for place, rule in enumerate(rules, start=1):
            for file in self._carry_out(rule, series.folder, folder, f"{place:02d}"):
                yield from ((file.name, destination) for destination in rule.send_to)

    def _carry_out(self, rule: Rule, series: Path, folder: Path, name: str) -> list[Path]:
        report = folder / f"{name}-report.dcm"
        if rule.task == "name":
            stacks = choose_stacks(read_stacks(series))
            report_names(report, self._labeller.label(stacks), stacks, self.model)
            return [report]
        files = DicomFiles(folder / f"{name}-segmentation.dcm", report)
        try:
            segment_to_dicom(read_image(series), self._predictor, Request(rule.phrases, self.model), files)
        except PromptError:
            if not report.exists():
                raise
        return [each for each in files.paths if each.exists()]

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.model)

    @cached_property
    def _labeller(self) -> AnatomyLabeller:
        return AnatomyLabeller(self.model)


def read_facts(folder: Path) -> SeriesFacts:
    """What the header of a series' first file says.

    Raises:
        ImageError: If there is none.
    """
    first = min(folder.glob("*.dcm"), default=None)
    if first is None:
        raise ImageError(f"{folder}: holds no DICOM file.")
    with quiet("pydicom"):
        header = dcmread(first, stop_before_pixels=True, specific_tags=list(FACTS))
        modality, body_part, *descriptions = (str(header.get(name) or "").strip() for name in FACTS)
    return SeriesFacts(modality, body_part, tuple(each for each in descriptions if each))
