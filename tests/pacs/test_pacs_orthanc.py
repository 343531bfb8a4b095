"""Round trips with a real archive: Orthanc with its DICOMweb plugin, on this machine alone."""

import json
import random
import shutil
import signal
import subprocess

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")
pytestmark = [
    pytest.mark.slow,
    # of sockets that pynetdicom drops where a listener was killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("dropped_sockets"),
    pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc (Debian: orthanc, orthanc-dicomweb)"),
]


def check_conforms(path):
    if shutil.which("dciodvfy") is None:
        return
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def vesalius(*arguments, capsys):
    from vesalius.cli import main

    main([str(each) for each in arguments])
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _series_are_whole_before_they_are_worked_on(trials, monkeypatch):
    """However long the next slice of a series is on its way."""
    monkeypatch.setattr(trials, "RULES", trials.RULES.replace("rest_seconds = 1\n", "rest_seconds = 5\n"))


@pytest.fixture
def archive(trials, tmp_path):
    found = trials.Archive(tmp_path / "orthanc")
    found.start()
    try:
        found.wait()
        yield found
    finally:
        found.kill()


def test_a_series_comes_and_its_results_go_over_dicomweb(trials, archive, tmp_path, capsys):
    from vesalius.pacs.dicomweb import DicomWeb

    web, series = DicomWeb(archive.url), trials.make_series(1)
    for place, each in enumerate(series):
        each.save_as(tmp_path / f"{place}.dcm", enforce_file_format=True)
        web.store(tmp_path / f"{place}.dcm")
    (found,) = json.loads(vesalius("pacs", "find", "--url", archive.url, "--json", capsys=capsys))["series"]
    assert (found["modality"], found["instances"]) == ("CT", len(series))
    where = ("--url", archive.url, "--study", found["study"], "--series", found["series"])
    vesalius("pacs", "segment", *where, "-p", "liver", "--send", capsys=capsys)
    vesalius("pacs", "name", *where, "--send", capsys=capsys)
    results = web.find({"StudyInstanceUID": found["study"], "SeriesDescription": "Vesalius*"}, 10)
    assert sorted(each.modality for each in results) == ["SEG", "SR", "SR"]
    for place, each in enumerate(results):
        folder = tmp_path / f"result{place}"
        folder.mkdir()
        assert web.fetch(each.study, each.series, folder) == 1
        (file,) = folder.iterdir()
        check_conforms(file)
        if each.modality == "SEG":
            check_geometry(pydicom.dcmread(file), series)


def check_geometry(segmentation, series):
    source = {each.SOPInstanceUID: each for each in series}
    assert len(segmentation.PerFrameFunctionalGroupsSequence) == len(series)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(position, source[item.ReferencedSOPInstanceUID].ImagePositionPatient, atol=1e-6)


def test_series_that_arrive_are_worked_on_once_whatever_is_killed(trials):
    found = trials.try_once(0, series=4, kills=3, draws=random.Random(0))
    assert sum(found["killed"].values()) == 3
    assert (found["lost"], found["twice"]) == (0, 0)


def test_it_stops_when_it_is_told_and_says_what_it_did(trials, tmp_path, capsys):
    with trials.running(tmp_path) as (archive, program, port):
        trials.send(trials.make_series(1), port)
        assert trials.wait_for(lambda: len(archive.results()) == 3 - 1, trials.PATIENCE_S)
        program.kill(signal.SIGTERM)
        assert program.process.returncode == 0
        told = json.loads(vesalius("pacs", "status", tmp_path / "queue", "--json", capsys=capsys))
    assert told["states"]["done"] == 1
    assert "Test" not in program.log.read_text()
