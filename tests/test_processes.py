"""Work on many things at once: leaving it ends its processes, whatever they are doing."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from vesalius import processes
from vesalius.processes import Work, work_at_once
from waiting import PATIENCE_S, until

HANGING = """
import os, signal, sys, time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

from vesalius.processes import Work, work_at_once

class Item:
    def __init__(self, path):
        self.path = path

def prepare(threads):
    return threads

def apply(tool, item):
    if "quick" not in item.path:
        Path(item.path).write_text(str(os.getpid()))
        time.sleep(600)
    return item.path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a test run in the background ignores
    items = [Item(each) for each in sys.argv[3:]]
    with closing(work_at_once(items, Work(prepare, apply), 2)) as outcomes:
        for outcome in outcomes:
            Path(sys.argv[2]).write_text("begun")
            time.sleep(float(sys.argv[1]))
"""


class Recording:
    """A pool of two processes that do nothing."""

    def __init__(self, *_, **__):
        self.killed: list[int] = []
        kill = self.killed.append
        self._processes = {each: SimpleNamespace(kill=lambda each=each: kill(each)) for each in (1, 2)}
        self.shut = False

    def submit(self, *_):
        raise KeyboardInterrupt

    def shutdown(self, **_):
        self.shut = True


def test_ctrl_c_ends_processes_before_it_waits_for_them(monkeypatch):
    pool = Recording()
    monkeypatch.setattr(processes, "ProcessPoolExecutor", lambda *_, **__: pool)
    items = [SimpleNamespace(path="a"), SimpleNamespace(path="b")]
    with pytest.raises(KeyboardInterrupt):
        next(work_at_once(items, Work(int, lambda tool, item: item), jobs=2))
    assert (pool.killed, pool.shut) == ([1, 2], True)


@pytest.mark.slow
def test_modules_of_the_current_folder_are_not_run(tmp_path):
    (tmp_path / "hanging.py").write_text(HANGING)
    images = tmp_path / "images"
    images.mkdir()
    for name in ("socket", "pickle", "queue"):
        (images / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    command = [sys.executable, str(tmp_path / "hanging.py"), "0", str(tmp_path / "result"), "quick 1", "quick 2"]
    subprocess.run(command, cwd=images, check=True, capture_output=True)
    assert (tmp_path / "result").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("names", [("one", "two"), ("quick", "two")], ids=["waiting", "working on a result"])
def test_ctrl_c_ends_what_hangs(tmp_path, names):
    (tmp_path / "hanging.py").write_text(HANGING)
    paths = [str(tmp_path / name) for name in names]
    command = [sys.executable, str(tmp_path / "hanging.py"), "600", str(tmp_path / "result"), *paths]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    needed = [tmp_path / name for name in ("result" if names[0] == "quick" else "one", "two")]
    try:
        until(lambda: all(each.exists() and each.read_text() for each in needed))
        hanging = int((tmp_path / "two").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) != 0
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
