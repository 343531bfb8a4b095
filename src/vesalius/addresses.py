"""AE titles, UIDs and addresses of web services, checked before use."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from vesalius.errors import ConfigError

AET = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
"""Application entity titles: up to 16 printable ASCII characters without a back slash."""
UID = re.compile(r"[0-9.]{1,64}")
"""Unique identifiers; many that are in use break further rules of the standard."""


def check_aet(title: str) -> None:
    """Refuse what is no application entity title.

    Raises:
        ConfigError: If it is none.
    """
    if not AET.fullmatch(title) or not title.strip():
        raise ConfigError(f"'{title}': expected an AE title, up to 16 ASCII characters without a back slash.")


def check_uid(text: str, place: str) -> None:
    """Refuse what is no unique identifier.

    Args:
        text: That should be one.
        place: Where it stands, for the message.

    Raises:
        ConfigError: If it is none.
    """
    if not UID.fullmatch(text):
        raise ConfigError(f"{place} {text}: expected a UID, up to 64 digits and points, such as 1.2.840.10008.1.2.")


def check_url(url: str) -> None:
    """Refuse addresses that are not of a web service, or that would send what is secret in clear.

    Raises:
        ConfigError: Saying which.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError("The address holds a password; give it in VESALIUS_PACS_USER and VESALIUS_PACS_PASSWORD.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address, a port that is no number
        usable = False
    if not usable:
        raise ConfigError(f"{url}: expected the address of a DICOMweb service, such as https://HOST/dicom-web.")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that what is said to it goes over no network.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "pacs.example.org")]
    [True, True, True, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
