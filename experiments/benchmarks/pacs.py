"""Kill the listener, the archive or both at random moments while series arrive; count what was lost or done twice.

    python experiments/benchmarks/pacs.py

Starts Orthanc (Debian: orthanc, orthanc-dicomweb) and `vesalius pacs listen` on this machine alone. A sender that gets
no answer sends again, as modalities do. At the end the archive has to hold one report and one segmentation of each
series. Then many series are sent at once, undisturbed, to see how fast they are worked off and what memory that takes.
Writes docs/results/pacs.md.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from setting import describe_setting

from vesalius.console import markdown_table
from vesalius.files import write_text
from vesalius.pacs.series_queue import SeriesQueue
from vesalius.pacs.states import State

OUT = Path(__file__).parents[2] / "docs" / "results" / "pacs.md"
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
KEPT = Path(tempfile.gettempdir()) / "vesalius-pacs-trials.json"
SLICES, SIDE = 4, 64
PATIENCE_S = 600.0
"""For all results of a trial to arrive."""
RULES = """
[queue]
rest_seconds = 1
retry_seconds = 0.5
attempts = 12

[destination.archive]
aet = "ORTHANC"
host = "127.0.0.1"
port = {port}

[[rule]]
name = "liver"
modality = "CT"
task = "segment"
phrases = ["liver"]
send_to = "archive"
"""


def free_port() -> int:
    """A TCP port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Program:
    """A program that can be killed and started again."""

    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, in a session of its own."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, and all that it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, how)
            self.process.wait(timeout=60)


class Archive(Program):
    """Orthanc, with what it stores in a folder.

    Args:
        folder: Its own.
    """

    def __init__(self, folder: Path) -> None:
        self.http, self.dicom = free_port(), free_port()
        settings = {
            "Name": "trial", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http, "DicomPort": self.dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "Plugins": [PLUGIN],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        (folder / "storage").mkdir(parents=True)
        (folder / "orthanc.json").write_text(json.dumps(settings))
        super().__init__(["Orthanc", str(folder / "orthanc.json")], folder / "orthanc.log")

    @property
    def url(self) -> str:
        """Of its DICOMweb service."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str) -> object:
        """What its own interface says; None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def wait(self) -> None:
        """Until it answers."""
        wait_for(lambda: self.ask("system") is not None, 60)

    def results(self) -> Counter[tuple[str, str]]:
        """(study, modality) -> number of instances; empty while it does not answer."""
        found: Counter[tuple[str, str]] = Counter()
        for series in self.ask("series?expand") or []:  # type: ignore[attr-defined]  # rows of JSON
            tags, study = series["MainDicomTags"], series["ParentStudy"]
            found[study, tags["Modality"]] += len(series["Instances"])
        return found


def listener(folder: Path, archive: Archive) -> Program:
    """`vesalius pacs listen` with a queue in a folder; its port is in ``command``."""
    rules = folder / "rules.toml"
    rules.write_text(RULES.format(port=archive.dicom))
    command = [sys.executable, "-c", "from vesalius.cli import main; main()", "pacs", "listen"]
    options = ["--rules", str(rules), "--queue", str(folder / "queue"), "--port", str(free_port())]
    return Program(command + options, folder / "listener.log")


def make_series(number: int) -> list[Dataset]:
    """Slices of a CT of noise."""
    uid = generate_uid(entropy_srcs=["series", str(number)])
    return [make_slice(uid, place) for place in range(SLICES)]


def make_slice(series: str, place: int = 0) -> Dataset:
    """One of them."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[series, str(place)])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", series])
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, generate_uid(entropy_srcs=["place", series])
    texts = {"PatientID": "1", "PatientName": "Test", "StudyDate": "20260101", "StudyTime": "101112", "StudyID": "1"}
    empty = ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName", "Manufacturer")
    numbers = {"Rows": SIDE, "Columns": SIDE, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
               "PixelRepresentation": 1, "SamplesPerPixel": 1, "SeriesNumber": 1, "InstanceNumber": place + 1,
               "SliceThickness": 3.0, "RescaleSlope": 1, "RescaleIntercept": 0}  # fmt: skip
    for keyword, value in {**texts, **dict.fromkeys(empty, ""), **numbers}.items():
        setattr(dataset, keyword, value)
    dataset.Modality, dataset.PhotometricInterpretation = "CT", "MONOCHROME2"
    dataset.PixelSpacing, dataset.ImageOrientationPatient = [2, 2], [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, 3 * place]
    levels = np.random.default_rng(place).integers(-200, 200, (SIDE, SIDE))
    dataset.PixelData = levels.astype(np.int16).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def send(series: list[Dataset], port: int) -> None:
    """Send until every slice was accepted, as a modality does."""
    left = list(series)
    end = time.monotonic() + PATIENCE_S
    while left:
        if time.monotonic() > end:
            raise TimeoutError("the listener does not answer")
        node = AE()
        node.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        node.connection_timeout = node.acse_timeout = node.dimse_timeout = node.network_timeout = 10
        association = node.associate("127.0.0.1", port, ae_title="VESALIUS")
        if association.is_established:
            while left and association.is_established and association.send_c_store(left[0]).get("Status") == 0:
                left.pop(0)
            association.abort() if left else association.release()
        if left:
            time.sleep(0.2)


def wait_for(met: Callable[[], bool], seconds: float) -> bool:
    """Whether something came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.2)
    return False


@contextmanager
def running(folder: Path) -> Iterator[tuple[Archive, Program, int]]:
    """Archive, listener and the listener's port; both end with the block."""
    archive = Archive(folder)
    program = listener(folder, archive)
    archive.start()
    program.start()
    try:
        archive.wait()
        yield archive, program, int(program.command[-1])
    finally:
        program.kill()
        archive.kill()


def try_once(number: int, series: int, kills: int, draws: random.Random) -> Mapping[str, object]:
    """Send series, kill at random moments, and count."""
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as (archive, program, port):
        made = [make_series(1000 * number + each) for each in range(series)]
        victims: list[list[Program]] = [[program], [archive], [program, archive]]
        moments = sorted(draws.sample(range(series), min(kills, series)))
        killed: Counter[str] = Counter()
        for each, slices in enumerate(made):
            send(slices, port)
            if each in moments:
                time.sleep(draws.uniform(0, 1.5))
                chosen = draws.choice(victims)
                killed["both" if len(chosen) == 2 else "listener" if chosen[0] is program else "archive"] += 1
                for victim in chosen:
                    victim.kill()
                time.sleep(draws.uniform(0, 0.5))
                for victim in chosen:
                    victim.start()
                archive.wait()
        wanted = Counter(dict.fromkeys(("SEG", "SR"), series))

        def arrived() -> bool:
            found = archive.results()
            return Counter(modality for _, modality in found) == wanted

        whole = wait_for(arrived, PATIENCE_S)
        time.sleep(2)
        found = archive.results()
        queue = SeriesQueue(Path(place) / "queue", 2**40)
        states = Counter(str(each.state) for each in queue.list_series())
        twice = sum(count > 1 for count in found.values())
        lost = sum(wanted.values()) - len(found)
        return {"killed": dict(killed), "whole": whole, "lost": lost, "twice": twice, "states": dict(states)}


def queue_many(series: int) -> Mapping[str, object]:
    """Send all before the first is worked on; series a second, and the listener's memory (MiB) at each tenth."""
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as (archive, program, port):
        for number in range(series):
            send(make_series(10**6 + number), port)
        queue = SeriesQueue(Path(place) / "queue", 2**40)

        def count() -> int:
            return sum(each.state == State.DONE for each in queue.list_series())

        began, before = time.monotonic(), count()
        memory: list[float] = []
        while (done := count()) < series:
            if done >= series * (len(memory) + 1) / 10:
                memory.append(memory_of(program))
            time.sleep(0.5)
        seconds = time.monotonic() - began
        memory.append(memory_of(program))
        results = archive.results()
        whole = len(results) == 2 * series and max(results.values()) == 1
        return {"rate": (series - before) / seconds, "memory": memory, "whole": whole}


def memory_of(program: Program) -> float:
    """MiB that its process holds."""
    assert program.process is not None
    status = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def once(kept: Path, name: str, settings: object, work: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
    """The result of a part, from a former run with the same settings if there was one."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{name} {settings}"
    if key not in found:
        found[key] = dict(work())
        write_text(kept, json.dumps(found, indent=2))
    return dict(found[key])


def main() -> None:
    """Try, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=30, help="that arrive while programs are killed")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--queued", type=int, default=200, help="that are sent at once")
    parser.add_argument("--quick", action="store_true", help="a few of each, to see that all runs; writes no page")
    parser.add_argument(
        "--kept", type=Path, default=KEPT, help="file with the parts that are done; a rerun does the rest"
    )
    args = parser.parse_args()
    if shutil.which("Orthanc") is None:
        sys.exit("Orthanc is not installed; on Debian and Ubuntu: apt-get install orthanc orthanc-dicomweb")
    series, kills, queued = (3, 2, 10) if args.quick else (args.series, args.kills, args.queued)
    found = once(args.kept, "kills", (series, kills), lambda: try_once(0, series, kills, random.Random(0)))
    load = once(args.kept, "queued", queued, lambda: queue_many(queued))
    page = write_page(series, kills, queued, found, load)
    print(page)
    if not args.quick:
        write_text(OUT, page)
    args.kept.unlink()


def write_page(series: int, kills: int, queued: int, found: Mapping[str, object], load: Mapping[str, object]) -> str:
    """The page of the results."""
    killed, memory = found["killed"], load["memory"]
    assert isinstance(killed, dict)
    assert isinstance(memory, list)
    table = markdown_table(
        ["killed", "times"],
        [*sorted(killed.items()), ("results lost", found["lost"]), ("results twice", found["twice"])],
    )
    curve = markdown_table(
        ["series done", *(f"{round(queued * (each + 1) / 10)}" for each in range(len(memory)))],
        [("MiB", *(f"{each:.0f}" for each in memory))],
    )
    return f"""# A queue that loses nothing

Written by `python experiments/benchmarks/pacs.py --series {series} --kills {kills} --queued {queued}`:
{describe_setting()}.

{series} series of {SLICES} slices arrive one after the other over C-STORE; listener, archive (Orthanc) or both
are killed (SIGKILL) at random moments and started again. Every series has to end with one segmentation and one report
in the archive.

{table}

{queued} series that lay in the queue were worked off at {load["rate"]:.2f} a second.
{"Each" if load["whole"] else "Not each"} ended with one segmentation and one report in the archive.
The listener's memory meanwhile:

{curve}
"""


if __name__ == "__main__":
    main()
