"""A DICOM node (C-ECHO and C-STORE provider) that puts whatever it is sent into the queue.

Who may call, how many at once, how large one instance may be and how long anybody may take are bounded, also in the
middle of what a caller says. Pixels are never decoded here and nothing is inflated; a file that cannot be used is
refused with a status, and no association, however odd, ends the listener.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO
from uuid import uuid4

from pydicom import dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when it is imported

from vesalius.addresses import UID
from vesalius.console import say
from vesalius.errors import ConfigError, OutputError
from vesalius.files import tell_bytes
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, quiet
from vesalius.pacs.guard import ASSOCIATION_S, PDU_S, guard
from vesalius.pacs.series_queue import SeriesQueue
from vesalius.pacs.settings import ListenSettings
from vesalius.pacs.states import OtherSeriesError

SUCCESS, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD, OTHER_SERIES = 0x0000, 0xA700, 0xA900, 0xC000, 0xC001
"""Statuses of C-STORE (PS3.4 table B.2-1; those that begin with C are the implementation's own)."""
SILENCE_S = 120.0
"""How long a caller may say nothing."""


@contextmanager
def listening(queue: SeriesQueue, settings: ListenSettings) -> Iterator[int]:
    """Listen until the block ends.

    Yields:
        The port.

    Raises:
        ConfigError: If the address cannot be had.
    """
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it names patients and files
    receiver = Receiver(queue, settings.megabytes * BYTES_PER_MEGABYTE)
    node = _make_node(settings)
    with quiet("pydicom"):  # on the threads of all associations: it repeats values that are not valid, such as UIDs
        try:
            server = node.start_server(
                (settings.host, settings.port),
                block=False,
                ssl_context=settings.tls(),
                evt_handlers=[
                    (evt.EVT_C_ECHO, lambda event: SUCCESS),
                    (evt.EVT_C_STORE, receiver.store),
                    (evt.EVT_CONN_OPEN, guard),
                    (evt.EVT_REJECTED, _tell_rejected),
                    (evt.EVT_PDU_RECV, receiver.count),
                    (evt.EVT_CONN_CLOSE, receiver.forget),
                ],
            )
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{settings.host}:{settings.port} cannot be listened on ({error}); choose another --port."
            ) from error
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            node.shutdown()


class Receiver:
    """Takes instances over, each on the thread of its association.

    Args:
        queue: Where they go.
        most_bytes: Of one instance.
    """

    def __init__(self, queue: SeriesQueue, most_bytes: int) -> None:
        self._queue, self._most_bytes = queue, most_bytes
        self._received: dict[int, int] = {}

    def count(self, event: evt.Event) -> None:
        """Break off whoever sends more than one instance may have."""
        caller = id(event.assoc)
        items = getattr(event.pdu, "presentation_data_value_items", None)
        if items is None:
            return
        self._received[caller] = self._received.get(caller, 0) + sum(len(each) for each in items)
        if self._received[caller] > self._most_bytes:
            say(f"An association was broken off: its instance has more than {tell_bytes(self._most_bytes)}.")
            event.assoc.abort()

    def forget(self, event: evt.Event) -> None:
        """An association is over."""
        self._received.pop(id(event.assoc), None)

    def store(self, event: evt.Event) -> int:
        """Answer a C-STORE request."""
        self._received.pop(id(event.assoc), None)
        content = event.encoded_dataset()
        try:
            series, instance = read_uids(BytesIO(content))
        except Exception as error:  # whatever pydicom makes of what strangers send
            say(f"An instance was refused: its header cannot be read ({type(error).__name__}).")
            return NOT_UNDERSTOOD
        if instance != str(getattr(event.request, "AffectedSOPInstanceUID", "")):
            say("An instance was refused: its UID is not the one it was announced with.")
            return MISMATCH
        file = self._queue.unfinished / f"{uuid4().hex}.dcm"
        try:
            file.write_bytes(content)
            self._queue.store(series, instance, file)
        except (OSError, OutputError) as error:
            say(f"An instance was refused: {error if isinstance(error, OutputError) else error.strerror}")
            return OTHER_SERIES if isinstance(error, OtherSeriesError) else OUT_OF_RESOURCES
        finally:
            file.unlink(missing_ok=True)  # unless the queue has moved it
        return SUCCESS


def _tell_rejected(event: evt.Event) -> None:
    """Say who was turned away and why: many scanners show no more than that it failed."""
    association = event.assoc
    asked, answer = association.requestor.primitive, association.acceptor.primitive
    if asked is None or answer is None:
        return
    say(
        f"A call was turned away ({answer.reason_str}): from '{asked.calling_ae_title}' at "
        f"{association.requestor.address} to '{asked.called_ae_title}'."
    )


def read_uids(file: BinaryIO) -> tuple[str, str]:
    """SeriesInstanceUID and SOPInstanceUID of a DICOM file.

    Raises:
        ValueError: If one is missing or is no UID.
    """
    with quiet("pydicom"):
        header = dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])
        found = str(header.get("SeriesInstanceUID", "")), str(header.get("SOPInstanceUID", ""))
    if not all(UID.fullmatch(each) for each in found):
        raise ValueError("no UID")
    return found


def transfer_syntaxes() -> list[str]:
    """Those whose pixels can be decoded here; a sender turns others into one of these, or does not send.

    Deflated is none of them: a small instance of it may take any amount of memory as soon as its header is read.
    """
    offered = (str(each) for each in ALL_TRANSFER_SYNTAXES if each != DeflatedExplicitVRLittleEndian)
    return [syntax for syntax in offered if _can_decode(syntax)]


def _can_decode(syntax: str) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:  # as for videos
        return False


def _make_node(settings: ListenSettings) -> AE:
    node = AE(ae_title=settings.aet)
    node.add_supported_context(Verification)
    syntaxes = transfer_syntaxes()
    for context in AllStoragePresentationContexts:
        assert context.abstract_syntax is not None
        node.add_supported_context(context.abstract_syntax, syntaxes)
    node.require_called_aet = True
    node.require_calling_aet = list(settings.caller)
    node.maximum_associations = settings.associations
    node.acse_timeout, node.dimse_timeout, node.network_timeout = ASSOCIATION_S, PDU_S, SILENCE_S
    return node
