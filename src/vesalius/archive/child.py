"""``python -m vesalius.archive.child``: works on items that come through its input, for `vesalius.archive.worker`.

Messages are frames: eight bytes of length, then so many bytes. The first is the request; then one for each item, each
answered by its outcome. An error that concerns all items is answered by an "error" instead, and ends the process; so
does the end of its input, whatever it is doing, so that no process outlives whoever asked it.
"""

import os
import queue
import threading
import warnings
from typing import Any, BinaryIO

from vesalius.archive.items import WorkItem
from vesalius.archive.request import ArchiveRequest
from vesalius.errors import VesaliusError
from vesalius.files import parse_json, to_json

LENGTH_BYTES = 8
OUTCOME, READY, ERROR = b"o", b"r", b"e"
"""First byte of an answer."""


def send_frame(stream: BinaryIO, content: bytes) -> None:
    """Write one message."""
    stream.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    stream.flush()


def receive_frame(stream: BinaryIO) -> bytes | None:
    """Read one message; None at the end, even in the middle of one."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    size = int.from_bytes(head, "big")
    content = stream.read(size)
    return content if len(content) == size else None


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with answers
    warnings.simplefilter("ignore")
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(os.fdopen(os.dup(0), "rb"), asked), daemon=True).start()
    try:
        _serve(asked, answers)
    except VesaliusError as error:
        told = to_json({"kind": type(error).__name__, "message": str(error)}, indent=None)
        send_frame(answers, ERROR + told.encode())
    finally:
        os._exit(1)  # an orderly end would wait for the thread that reads


def _serve(asked: "queue.SimpleQueue[bytes]", answers: BinaryIO) -> None:
    """Open the model, and work on items for ever."""
    settings: Any = parse_json(asked.get().decode(), "request")
    from vesalius.archive.work import ItemWorker

    worker = ItemWorker(ArchiveRequest.from_dict(settings["request"]), settings["threads"])
    send_frame(answers, READY)
    while True:
        content: Any = parse_json(asked.get().decode(), "item")
        send_frame(answers, OUTCOME + worker.run(WorkItem.from_dict(content)).to_bytes())


def _listen(stream: BinaryIO, asked: "queue.SimpleQueue[bytes]") -> None:
    while (content := receive_frame(stream)) is not None:
        asked.put(content)
    os._exit(0)


if __name__ == "__main__":
    main()
