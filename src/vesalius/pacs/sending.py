"""Results on their way back: C-STORE to a DICOM node, STOW-RS to a DICOMweb service."""

import socket
import ssl
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from vesalius.errors import OutputError
from vesalius.imaging.safeguards import quiet
from vesalius.pacs.dicomweb import DUPLICATE, TIMEOUT_S, DicomWeb
from vesalius.pacs.guard import guard
from vesalius.pacs.rules import Destination


def check_destination(destination: Destination) -> None:
    """See whether results may go to a destination; nobody is asked.

    Raises:
        ConfigError: If credentials contradict one another, or would go over the network in clear.
    """
    if destination.url:
        DicomWeb(destination.url)


def send(file: Path, destination: Destination, own_aet: str) -> None:
    """Send one DICOM file.

    Args:
        file: What to send.
        destination: Where to.
        own_aet: How the sender of a C-STORE calls itself.

    Raises:
        OutputError: If it was not accepted, or nobody answered.
    """
    if destination.url:
        DicomWeb(destination.url).store(file)
        return
    place = f"{destination.aet} at {destination.host}:{destination.port}"
    with quiet("pydicom"):
        dataset = dcmread(file)
    association = _associate(dataset.file_meta, destination, own_aet)
    if not association.is_established:
        raise OutputError(f"{place}: {_tell_refusal(association, dataset.file_meta, own_aet)}")
    try:
        code = association.send_c_store(dataset).get("Status")
    finally:
        association.release()
    if code is None or (code not in (0, DUPLICATE) and code >> 12 != 0xB):
        raise OutputError(f"{place}: refused an instance ({'no answer' if code is None else f'status {code:04X}'}).")


def _associate(meta: Dataset, destination: Destination, own_aet: str) -> Association:
    node = AE(ae_title=own_aet)
    node.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    node.connection_timeout = node.acse_timeout = node.dimse_timeout = node.network_timeout = TIMEOUT_S
    tls: Any = (ssl.create_default_context(), destination.host) if destination.tls else None
    kept: list[socket.socket] = []
    association = node.associate(
        destination.host,
        destination.port,
        ae_title=destination.aet,
        tls_args=tls,
        evt_handlers=[(evt.EVT_CONN_OPEN, guard), (evt.EVT_ACSE_SENT, _keep_socket, [kept])],
    )
    if not association.is_established:
        for each in kept:  # pynetdicom drops what it could not connect without closing it
            each.close()
    return association


def _keep_socket(event: evt.Event, kept: list[socket.socket]) -> None:
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        kept.append(connection.socket)


def _tell_refusal(association: Association, meta: Dataset, own_aet: str) -> str:
    """Why there is no association, as far as the other side said it."""
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return f"refuses a call from {own_aet} ({answer.reason_str})."
    if answer is not None and answer.result == 0:
        return f"does not accept {meta.MediaStorageSOPClassUID.name} as {meta.TransferSyntaxUID.name}."
    return "does not answer; see whether it runs, host and port are right, and both or neither speak TLS."
