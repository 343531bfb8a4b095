"""What is done with a series that is whole: the rules that fit it, results as DICOM, and on their way back."""

import math
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pydicom import dcmread

from vesalius.clinical.work import DicomFiles, ReportOnlyError, report_names, segment_to_dicom
from vesalius.console import say
from vesalius.errors import ConfigError, ImageError, OutputError, PromptError, VesaliusError, join_first
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.imaging.dicom_file import DicomStream, reading_dicom
from vesalius.imaging.safeguards import quiet
from vesalius.naming.labeller import AnatomyLabeller, choose_stacks, labeller_beside
from vesalius.pacs.listener import read_uids
from vesalius.pacs.rules import PacsRules, Rule, SeriesFacts
from vesalius.pacs.sending import check_destination, send
from vesalius.pacs.series_queue import SeriesQueue
from vesalius.pacs.states import QueuedSeries, State
from vesalius.predict import Predictor
from vesalius.prompts.user_prompts import check_distinct
from vesalius.segmenting.request import Request

LOOK_S = 0.5
"""Wait between looks into an empty queue."""
TIDY_S = 600.0
"""Wait between looks for what is old, and for what the queue's database does not know of."""
TROUBLE_S = 30.0
"""Wait after the queue itself could not be used."""
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

    def check(self) -> None:
        """Open the model for what the rules ask of it, and see whether results may go where the rules send them.

        Phrases that the model did not learn, or takes for others, are said.

        Raises:
            VesaliusError: If the model cannot be used, or credentials would go over the network in clear.
        """
        for rule in self.rules.rules:
            if rule.task == "name":
                _ = self._labeller
            else:
                check_distinct(rule.phrases)
                self._tell_phrases(rule)
        for destination in self.rules.destinations.values():
            check_destination(destination)

    def _tell_phrases(self, rule: Rule) -> None:
        """Say how phrases are understood that are not just what the model learnt: misspelt, or never learnt."""
        understand = self._predictor.knowledge.understand
        kinds: list[str | None] = [kind.upper() for kind in rule.modality] or [None]
        asked = [understand(phrase, kind) for phrase in rule.phrases for kind in kinds]
        for remark in dict.fromkeys(each.remark for each in asked if each.remark):
            say(f"rule '{rule.name}': {remark}")

    def run(self, stopped: threading.Event) -> None:
        """Work until it is told to stop, and remove old series now and then, however busy it is."""
        tidied = -math.inf
        while not stopped.is_set():
            try:
                if time.monotonic() - tidied >= TIDY_S:
                    tidied = time.monotonic()
                    self._tidy()
                if not self.step():
                    stopped.wait(LOOK_S)
            except OutputError as error:  # of the queue's own disk, which may have room again
                say(error)
                stopped.wait(TROUBLE_S)

    def _tidy(self) -> None:
        self.queue.remove_abandoned()
        self._take_in()
        for each in self.queue.list_old(self.rules.queue.keep_seconds):
            try:
                removed = self.queue.remove(each)
            except OutputError as error:  # others can be removed
                say(f"series {each.short}: cannot be removed: {error}")
                continue
            if removed and each.state != State.DONE:
                say(f"series {each.short}: removed after {self.rules.queue.keep_days:g} days; it was {each.state}")

    def _take_in(self) -> None:
        """Take in what was moved into the queue's folder when its database refused, as when the disk was full."""
        found = self.queue.list_unlisted()
        for file in found:
            try:
                with reading_dicom(file), DicomStream(file) as content:
                    series, instance = read_uids(content)
                self.queue.store(series, instance, file)
            except (OSError, ImageError, OutputError) as error:  # others can be taken in
                say(f"series {file.parent.name[:8]}: a file is not taken in: {error}")
        left = self.queue.list_unlisted() if found else []
        if len(left) < len(found):
            say(f"{len(found) - len(left)} instances that the queue's database did not know of are taken in")
        if left:
            say(f"{len(left)} files in {self.queue.incoming} belong to no series of the queue; see what they are")

    def step(self) -> bool:
        """Work on a series that is due; False if there is none."""
        settings = self.rules.queue
        with self.queue.claim(settings.rest_seconds, settings.attempts) as series:
            if series is None:
                return False
            made = None
            with self._noting_failure(series):
                made = self._make_ready(series)
            if made is not None:
                with self._noting_failure(made):
                    self._send(made)
        return True

    @contextmanager
    def _noting_failure(self, series: QueuedSeries) -> Iterator[None]:
        settings = self.rules.queue
        try:
            yield
        except (ImageError, PromptError, ConfigError) as error:  # the same tomorrow
            self.queue.refuse(series, str(error))
            say(f"series {series.short}: refused: {error}")
        except Exception as error:  # anything may go wrong with strangers' data, and the next series is waiting
            reason = _reason(error)
            self.queue.fail(series, reason, attempts=settings.attempts, wait_s=settings.retry_seconds)
            say(f"series {series.short}: attempt {series.attempts} of {settings.attempts} failed: {reason}")

    def _make_ready(self, series: QueuedSeries) -> QueuedSeries | None:
        """The series with its results, made unless they are there; None if slices have arrived meanwhile."""
        if series.state == State.MADE and self._can_send(series):
            return series
        made = self.queue.made(series, tuple(self._make(series)))
        if made is None:
            _tell_late(series)
        return made

    def _can_send(self, series: QueuedSeries) -> bool:
        """Whether results are whole and their destinations still known; else all is made anew by today's rules."""
        folder = self.queue.results_of(series)
        return all(name in self.rules.destinations and _is_readable(folder / file) for file, name in series.results)

    def _send(self, series: QueuedSeries) -> None:
        """Send each result to each destination that lacks it; one that fails keeps nothing from the others."""
        failures: dict[str, None] = {}
        for file, destination in series.results:
            try:
                send(self.queue.results_of(series) / file, self.rules.destinations[destination], self.own_aet)
            except Exception as error:
                failures[_reason(error)] = None
                continue
            if not self.queue.sent(series, (file, destination)):
                _tell_late(series)
                return
        if failures:
            raise OutputError(join_first(failures, separator="; "))
        if self.queue.done(series):
            told = f"{len(series.results)} results sent" if series.results else "no rule fits"
            say(f"series {series.short}: done, {told}")

    def _make(self, series: QueuedSeries) -> Iterator[tuple[str, str]]:
        """Files and where each goes; begun anew if an attempt was broken off."""
        folder = self.queue.results_of(series)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        rules = self.rules.of(_read_facts(series.folder))
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
        except ReportOnlyError:
            return [report]
        return files.paths

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.model)

    @cached_property
    def _labeller(self) -> AnatomyLabeller:
        if any(rule.task == "segment" for rule in self.rules.rules):
            return labeller_beside(self._predictor, self.model)
        return AnatomyLabeller(self.model)  # it may be one that only names


def _read_facts(folder: Path) -> SeriesFacts:
    """What the header of a series' first file says.

    Raises:
        ImageError: If there is none, or it cannot be read.
    """
    first = min(folder.glob("*.dcm"), default=None)
    if first is None:
        raise ImageError(f"{folder}: holds no DICOM file.")
    with reading_dicom(first), DicomStream(first) as file:
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(FACTS))
        modality, body_part, *descriptions = (str(header.get(name) or "").strip() for name in FACTS)
    return SeriesFacts(modality, body_part, tuple(each for each in descriptions if each))


def _is_readable(file: Path) -> bool:
    """Whether a result is there and holds what DICOM needs."""
    try:
        with quiet("pydicom"):
            return "SOPInstanceUID" in dcmread(file)
    except Exception:  # whatever pydicom makes of what a damaged disk left
        return False


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, VesaliusError) else type(error).__name__


def _tell_late(series: QueuedSeries) -> None:
    say(f"series {series.short}: slices arrived meanwhile; it is begun anew when it rests")
