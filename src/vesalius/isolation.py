"""A process of its own for work that may crash, hang or run out of memory; each message is answered by a deadline.

`Child` is the side that asks, and `serve_frames` the main function of the side that answers. Messages are frames: eight
bytes of length, then so many bytes. The first names a folder for temporary files, which is removed when the process
ended, however it did; the second is what the process opens, answered by nothing. A process never outlives whoever asks.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from vesalius.errors import VesaliusError

PREFIX = "vesalius-"
"""Beginning of the name of a folder for temporary files."""
LENGTH_BYTES = 8
ANSWER, ERROR, FAULT = b"a", b"e", b"f"
"""First byte of an answer: as asked; an error that concerns all messages; a fault of ours in this one."""
DYING_S = 5.0
"""Seconds until a process that closed its output is ended."""


class ChildError(Exception):
    """A process gave no answer, and is gone; the message says why and can follow "it could not be done; "."""


class ChildEndedError(ChildError):
    """It ended, or could not be started; another may do better."""


class ChildLateError(ChildError):
    """It took too long."""


class ChildStoppedError(ChildError):
    """Whoever owns it stopped it for good."""


class ChildFailedError(ChildError):
    """It says that no message at all can be answered.

    Args:
        kind: Name of its error's class.
        message: Message of that.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind, self.message = kind, message


class Child:
    """A process that is started when needed, and anew after it ended; one thread asks, any may stop it.

    Args:
        module: What the process runs; calls `serve_frames`.
        settings: Tells it what to open.
        on_restart: Called whenever a process is started in the place of one that ended.
    """

    def __init__(self, module: str, settings: bytes, on_restart: Callable[[], None] = lambda: None) -> None:
        self._module, self._settings, self._on_restart = module, settings, on_restart
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._starts, self._opened, self._stopped = 0, False, False

    def start(self, due: float) -> None:
        """Start the process and wait until it has opened what it needs, unless it has.

        Args:
            due: Time by which it must have, by `time.monotonic`.

        Raises:
            ChildError: If it has not.
        """
        process = self._process
        if self._opened and process is not None and process.poll() is None:
            return
        self._end()
        files = self._launch()
        self._exchange([os.fsencode(files), self._settings], due)
        self._opened = True

    def ask(self, content: bytes, due: float) -> bytes:
        """The answer to a message.

        Args:
            content: The message.
            due: Time by which it must be answered, by `time.monotonic`.

        Raises:
            ChildError: If there is none.
        """
        self.start(due)
        return self._exchange([content], due)

    def stop(self, grace: float = 0.0) -> None:
        """End the process for good.

        Args:
            grace: Seconds in which it may end by itself.
        """
        with self._lock:
            self._stopped = True
        self._end(grace)

    def _launch(self) -> Path:
        """Start a process.

        Returns:
            Its folder for temporary files.
        """
        with self._lock:
            if self._stopped:
                raise ChildStoppedError("it was stopped")
            try:
                self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
                files = Path(self._folder.name, "files")
                files.mkdir()
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", self._module],  # -P: the current folder is no place for modules
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # libraries may name files, which may name patients
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
                )
                self._answers = queue.SimpleQueue()
                threading.Thread(target=_collect, args=(self._process.stdout, self._answers), daemon=True).start()
            except (OSError, RuntimeError) as error:  # the latter where no thread can be started
                self._end()
                raise ChildEndedError(f"its process cannot be started ({getattr(error, 'strerror', error)})") from error
        if self._starts:
            self._on_restart()
        self._starts += 1
        return files

    def _exchange(self, messages: list[bytes], due: float) -> bytes:
        """The answer to the last message; without one the process is gone."""
        process = self._process
        try:
            answer = b"" if process is None else self._pass_on(process, messages, due)
        except BaseException as error:  # as Ctrl-C: the answer would be taken for that to the next message
            self._end()
            if isinstance(error, queue.Empty):
                raise ChildLateError("it took too long") from None
            raise
        if answer[:1] == ANSWER:
            return answer[1:]
        code = self._end(DYING_S)
        if self._stopped:
            raise ChildStoppedError("it was stopped")
        raise _to_error(answer) if answer else ChildEndedError(_tell_end(code))

    def _pass_on(self, process: "subprocess.Popen[bytes]", messages: list[bytes], due: float) -> bytes:
        """What comes back; b"" if the process ended."""
        assert process.stdin is not None
        try:
            for content in messages:
                _send(process.stdin, content)
        except (OSError, ValueError):  # its input is closed
            return b""
        return self._answers.get(timeout=min(max(0.0, due - time.monotonic()), threading.TIMEOUT_MAX)) or b""

    def _end(self, grace: float = 0.0) -> int | None:
        """End the process, and remove its files.

        Returns:
            How it ended; None if it had to be ended, or there is none.
        """
        with self._lock:
            process, folder = self._process, self._folder
            self._process = self._folder = None
            self._opened = False
        code = None if process is None else _end_process(process, grace)
        if folder is not None:
            folder.cleanup()
        return code


def _end_process(process: "subprocess.Popen[bytes]", grace: float) -> int | None:
    assert process.stdin is not None
    code = None
    if grace:
        with suppress(OSError):  # what was not sent yet cannot be sent any more
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(grace)
    process.kill()
    process.wait()
    with suppress(OSError):
        process.stdin.close()
    return code


def _to_error(answer: bytes) -> ChildError:
    told = json.loads(answer[1:])
    if answer[:1] == FAULT:
        return ChildEndedError(f"its process was ended by an unexpected {told['kind']}")
    return ChildFailedError(**told)


def _tell_end(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with code {code}" if code is not None else "its process stopped answering"
    known = {each.value for each in signal.Signals}
    name = signal.Signals(-code).name if -code in known else f"signal {-code}"
    return f"its process was ended by {name}, by a damaged file or for lack of memory"


def _collect(stream: IO[bytes], answers: "queue.SimpleQueue[bytes | None]") -> None:
    with stream:
        while (content := _receive(stream)) is not None:
            answers.put(content)
    answers.put(None)


def _send(stream: IO[bytes], content: bytes) -> None:
    stream.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """One message; None at the end, even in the middle of one."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    size = int.from_bytes(head, "big")
    content = stream.read(size)
    return content if len(content) == size else None


def serve_frames(prepare: Callable[[bytes], Callable[[bytes], bytes]]) -> None:
    """Answer messages until whoever asks is gone, even in the middle of one; then end the process.

    What libraries print, and what they read from the standard input, does not mix with messages.

    Args:
        prepare: Opens what `Child` was told, and returns what answers a message. An error of ours (`VesaliusError`) of
            either concerns all messages; of other errors while answering only the kind is told, since their text may
            quote a file.
    """
    for name in (signal.SIGINT, signal.SIGTERM):  # whoever asks says when to end
        signal.signal(name, signal.SIG_IGN)
    asking, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    folder = _receive(asking)
    if folder is None:
        return
    files = Path(os.fsdecode(folder))
    tempfile.tempdir = str(files)
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asking, asked, files), daemon=True).start()
    answer = None
    try:
        answer = prepare(asked.get())
        told = b""
        while True:
            _send(answers, ANSWER + told)
            told = answer(asked.get())
    except Exception as error:
        known = answer is None or isinstance(error, VesaliusError)
        what = {"kind": type(error).__name__, "message": str(error) if known else ""}
        with suppress(OSError):
            _send(answers, (ERROR if known else FAULT) + json.dumps(what).encode())
    finally:
        _leave(1, files)


def _listen(asking: IO[bytes], asked: "queue.SimpleQueue[bytes]", files: Path) -> None:
    while (content := _receive(asking)) is not None:
        asked.put(content)
    _leave(0, files)


_LEAVING = threading.Lock()


def _leave(code: int, files: Path) -> NoReturn:
    """Remove the temporary files, and end at once: an orderly end would wait for what hangs."""
    with _LEAVING:
        with suppress(OSError):
            files.rename(files.with_name("gone"))  # so that nothing is added meanwhile
        if files.parent.name.startswith(PREFIX):
            shutil.rmtree(files.parent, ignore_errors=True)
        os._exit(code)
