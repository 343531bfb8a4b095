"""Every sample that comes with pydicom, sound or not, through the commands: an answer or a reason, in time."""

import json
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

SAMPLES = Path(pydicom.__file__).parent / "data"
PARTS = ("test_files", "charset_files")
MOST_SECONDS = 60.0
"""Of processor time, which does not grow where a machine does other things, too; three for the slowest."""
MOST_MEBIBYTES = 1200

ONE_AFTER_ANOTHER = r"""
import contextlib, io, json, re, sys, time, traceback
from pathlib import Path
from vesalius.cli import main

for line in sys.stdin:
    arguments, output, start = json.loads(line), io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(arguments)
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = traceback.format_exc()
    seconds = time.process_time() - start
    peak = int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps([arguments, code, seconds, peak, output.getvalue()]), flush=True)
"""


def samples() -> list[Path]:
    """All files, and all folders that hold some."""
    found = [path for part in PARTS for path in sorted((SAMPLES / part).rglob("*")) if "__pycache__" not in path.parts]
    return [path for path in found if path.is_file() or any(each.is_file() for each in path.iterdir())]


def run_each(commands: list[list[str]], folder: Path) -> list[tuple[list[str], object, float, float, str]]:
    lines = "".join(json.dumps(each) + "\n" for each in commands)
    ended = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER], input=lines, cwd=folder, capture_output=True, text=True, check=False
    )
    told = [tuple(json.loads(line)) for line in ended.stdout.splitlines()]
    assert len(told) == len(commands), f"ended at {commands[len(told)]}: {ended.stderr[-2000:]}"
    return told


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not tell a program's peak of memory"
)
@pytest.mark.parametrize("command", ["segment", "name"])
def test_every_sample_is_answered_or_refused_in_time(tmp_path, command):
    more = ["lungs", "--out"] if command == "segment" else []
    paths = samples()
    assert len(paths) > 80
    calls = [
        [command, str(path), *more, *([str(tmp_path / str(number))] if more else [])]
        for number, path in enumerate(paths)
    ]
    told = run_each(calls, tmp_path)
    faults = [
        f"{arguments[1]}: {code}, {seconds:.1f} s, {peak:.0f} MiB: {output[-300:]}"
        for arguments, code, seconds, peak, output in told
        if code not in (0, 2) or "Traceback" in output or seconds > MOST_SECONDS or peak > MOST_MEBIBYTES
    ]
    assert not faults, "\n".join(faults)
    assert {code for _, code, *_ in told} == {0, 2}
    refused = [(arguments[1], output) for arguments, code, _, _, output in told if code == 2]
    assert [path for path, output in refused if Path(path).name not in "".join(output.split("\n"))] == []
