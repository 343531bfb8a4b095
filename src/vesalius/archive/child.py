"""``python -m vesalius.archive.child``: works on items that come through its input, for `vesalius.archive.worker`."""

import warnings
from collections.abc import Callable
from typing import Any

from vesalius.archive.items import WorkItem
from vesalius.archive.request import ArchiveRequest
from vesalius.files import parse_json
from vesalius.isolation import serve_frames


def open_worker(settings: bytes) -> Callable[[bytes], bytes]:
    """Open the model, and return what works on an item as JSON: an `ItemOutcome` in bytes."""
    from vesalius.archive.work import ItemWorker

    warnings.simplefilter("ignore")
    told: Any = parse_json(settings.decode(), "request")
    worker = ItemWorker(ArchiveRequest.from_dict(told["request"]), told["threads"])

    def work(content: bytes) -> bytes:
        item: Any = parse_json(content.decode(), "item")
        return worker.run(WorkItem.from_dict(item)).to_bytes()

    return work


if __name__ == "__main__":
    serve_frames(open_worker)
