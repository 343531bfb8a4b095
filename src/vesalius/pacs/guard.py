"""What keeps an association from standing open for ever, whichever side began it."""

import socket
import threading
import time
from collections.abc import Callable

from pynetdicom import evt

from vesalius.console import say

ASSOCIATION_S, PDU_S = 10.0, 60.0
"""How long an association may take to begin, and a PDU to arrive."""
LARGEST_PDU = 2**20
"""Bytes of a PDU that is read; what is agreed on is far less, and so is any request for an association."""


def guard(opened: evt.Event) -> None:
    """End an association whose other side says what has no place in the protocol, or stops in the middle.

    pynetdicom reads as much as a PDU says it has, however much and however long that takes, and its thread would die
    of what is out of place; the association would stand open, and count.
    """
    association = opened.assoc
    act = association.dul.state_machine.do_action

    def act_or_end(event: str) -> None:
        try:
            act(event)
        except Exception:  # InvalidEventError, and whatever pynetdicom makes of messages that lack what they need
            say("An association was broken off: the other side does not keep to the protocol.")
            association.dul.kill_dul()
            threading.Thread(target=association.kill, daemon=True).start()  # which waits for this thread to end
            if association.dul.socket is not None:
                association.dul.socket.close()

    association.dul.state_machine.do_action = act_or_end  # type: ignore[method-assign]
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        read = _reader(connection.socket, lambda: association.is_established)
        connection.recv = read  # type: ignore[method-assign, assignment]  # parameters have other names


def _reader(connection: socket.socket, established: Callable[[], bool]) -> Callable[[int], bytearray]:
    """Reads a number of bytes; pynetdicom ends an association where this raises OSError."""
    connection.settimeout(PDU_S)  # of what is sent, too

    def read(size: int) -> bytearray:
        if size > LARGEST_PDU:
            say("An association was broken off: the other side announced a PDU that is too large.")
            raise ConnectionAbortedError
        end = time.monotonic() + (PDU_S if established() else ASSOCIATION_S)
        content = bytearray()
        while len(content) < size:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            try:
                piece = connection.recv(size - len(content))
            finally:
                connection.settimeout(PDU_S)
            if not piece:
                break  # the other side has gone; pynetdicom sees that something is missing
            content += piece
        return content

    return read
