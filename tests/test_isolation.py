"""Processes that answer messages: what crashes, hangs or cannot start is told and leaves nothing behind."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from vesalius import isolation
from vesalius.isolation import Child, ChildEndedError, ChildError, ChildFailedError, ChildLateError, ChildStoppedError
from waiting import PATIENCE_S, is_alive, until

ANSWERING = """
import os, signal, sys, tempfile, time
from vesalius.errors import ModelError
from vesalius.isolation import serve_frames

def prepare(settings):
    if settings == b"heavy":
        raise ModuleNotFoundError("No module named 'heavy'")
    if settings == b"slow":
        time.sleep(600)
    return answer

def answer(content):
    told, _, place = content.decode().partition(" ")
    if told == "study":
        with open(os.path.join(tempfile.mkdtemp(), "study.dcm"), "w"):
            pass
        answer(place.encode())
    if told == "mark":
        with open(place, "w") as file:
            file.write(str(os.getpid()))
        while True:
            pass
    if told == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if told == "exit":
        os._exit(3)
    if told == "hang":
        while True:
            pass
    if told == "fault":
        raise KeyError("Jane Doe")
    if told == "model":
        raise ModelError("bad weights")
    if told == "noise":
        print("noise", flush=True)
        return sys.stdin.read().encode() + b"quiet"
    return f"{os.getpid()} {tempfile.gettempdir()}".encode()

if __name__ == "__main__":
    serve_frames(prepare)
"""
PARENT = """
import sys, time
from vesalius.isolation import Child
Child("answering", b"").ask(f"study mark {sys.argv[1]}".encode(), time.monotonic() + 600)
"""


def soon(seconds: float = PATIENCE_S) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where temporary files lie; the program `answering` is found."""
    home = tmp_path / "programs"
    home.mkdir()
    (home / "answering.py").write_text(ANSWERING)
    monkeypatch.syspath_prepend(str(home))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def open_child(temporary):
    opened = []

    def open_child(settings: bytes = b"", **more) -> Child:
        opened.append(Child("answering", settings, **more))
        return opened[-1]

    yield open_child
    for child in opened:
        child.stop()
    assert list(temporary.iterdir()) == []


def test_one_process_answers_all_messages_and_has_a_folder_that_nobody_else_reads(open_child, temporary):
    child = open_child()
    first = child.ask(b"who", soon()).decode()
    assert child.ask(b"noise", soon()) == b"quiet"
    assert child.ask(b"who", soon()).decode() == first
    folder = Path(first.split()[1])
    assert folder.parent.parent == temporary
    assert folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("kill", "its process was ended by SIGKILL, by a damaged file or for lack of memory"),
        ("exit", "its process ended with code 3"),
        ("fault", "its process was ended by an unexpected KeyError"),
    ],
)
def test_a_process_that_ends_says_how_leaves_no_study_and_the_next_answers(open_child, temporary, content, told):
    restarts = []
    child = open_child(on_restart=lambda: restarts.append(1))
    with pytest.raises(ChildEndedError) as caught:
        child.ask(f"study {content}".encode(), soon())
    assert str(caught.value) == told
    assert list(temporary.iterdir()) == []
    assert restarts == []
    assert child.ask(b"who", soon())
    assert restarts == [1]


def test_a_process_that_takes_too_long_is_ended_and_the_next_answers(open_child, temporary):
    child = open_child()
    process = int(child.ask(b"who", soon()).split()[0])
    with pytest.raises(ChildLateError):
        child.ask(b"study hang", soon(0.2))
    assert list(temporary.iterdir()) == []
    assert int(child.ask(b"who", soon()).split()[0]) != process


def test_a_process_that_died_idle_is_replaced_before_it_is_asked(open_child):
    child = open_child()
    process = int(child.ask(b"who", soon()).split()[0])
    os.kill(process, signal.SIGKILL)
    child._process.wait()
    assert int(child.ask(b"who", soon()).split()[0]) != process


def test_what_goes_wrong_while_opening_is_told(open_child):
    with pytest.raises(ChildFailedError, match="ModuleNotFoundError: No module named 'heavy'") as caught:
        open_child(b"heavy").start(soon())
    assert (caught.value.kind, caught.value.message) == ("ModuleNotFoundError", "No module named 'heavy'")
    with pytest.raises(ChildLateError):
        open_child(b"slow").start(soon(0.5))


def test_an_error_that_concerns_all_messages_keeps_its_message(open_child):
    with pytest.raises(ChildFailedError) as caught:
        open_child().ask(b"model", soon())
    assert (caught.value.kind, caught.value.message) == ("ModelError", "bad weights")


def test_stopping_in_the_middle_of_a_message_is_told_as_such_and_nothing_starts_again(open_child, tmp_path):
    child, told = open_child(), []

    def ask():
        try:
            child.ask(f"mark {tmp_path / 'busy'}".encode(), soon())
        except ChildError as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until((tmp_path / "busy").exists)
    child.stop()
    asking.join(PATIENCE_S)
    assert [type(each) for each in told] == [ChildStoppedError]
    with pytest.raises(ChildStoppedError):
        child.ask(b"who", soon())


def test_a_process_that_cannot_be_started_is_tried_again(open_child, temporary, monkeypatch):
    restarts = []
    child = open_child(on_restart=lambda: restarts.append(1))

    def refuse(*_, **__):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patch:
        patch.setattr(isolation.subprocess, "Popen", refuse)
        with pytest.raises(ChildEndedError, match=r"cannot be started \(Resource temporarily unavailable\)"):
            child.ask(b"who", soon())
    assert list(temporary.iterdir()) == []
    assert child.ask(b"who", soon())
    assert restarts == []


def test_modules_of_the_current_folder_are_not_run(open_child, tmp_path, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    (images / "queue.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.chdir(images)
    assert open_child().ask(b"who", soon())
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="ended processes are told by their numbers")
def test_a_busy_process_ends_with_a_killed_caller_and_removes_its_files(temporary, tmp_path):
    paths = os.pathsep.join(each for each in sys.path if each)
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(temporary)}
    caller = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "busy")], env=environment)
    try:
        until(lambda: (tmp_path / "busy").exists() and (tmp_path / "busy").read_text())
        process = int((tmp_path / "busy").read_text())
        assert list(temporary.rglob("study.dcm"))
    finally:
        caller.kill()
        caller.wait()
    until(lambda: not list(temporary.iterdir()) and not is_alive(process))
