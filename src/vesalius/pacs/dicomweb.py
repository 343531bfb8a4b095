"""A DICOMweb service: which series it holds, their instances, and results that are stored beside them.

Credentials come from the environment: ``VESALIUS_PACS_TOKEN`` (bearer token), or ``VESALIUS_PACS_USER`` and
``VESALIUS_PACS_PASSWORD``. They go over TLS, whose certificates are verified (``SSL_CERT_FILE`` names authorities of
one's own), or stay on this machine. What is there already is stored: a result that is sent twice has the same UID.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset

from vesalius.addresses import check_uid, check_url, is_loopback
from vesalius.errors import ConfigError, OutputError, VesaliusError
from vesalius.imaging.safeguards import FRAMES, quiet

TIMEOUT_S = 60.0
"""Longest wait for an answer of any service or node."""
TOKEN, USER, PASSWORD = "VESALIUS_PACS_TOKEN", "VESALIUS_PACS_USER", "VESALIUS_PACS_PASSWORD"
AUTHORITIES = "SSL_CERT_FILE"
"""Environment variable of OpenSSL, which C-STORE over TLS goes by."""
DUPLICATE = 0x0111
"""Status of an instance whose UID is there already (PS3.7 annex C)."""
CONFLICT = 409
"""Status of HTTP where nothing was stored."""
REMEDIES = dict.fromkeys((401, 403), f"; see whether {TOKEN}, or {USER} and {PASSWORD}, are right for it") | {
    404: "; is this its address?",
    206: ", so it did not send all of the series; try again",
}
"""Status of HTTP -> end of the message."""
ANSWERS = ("application/dicom+json", "application/json", "application/dicom+xml", "application/xml")
"""Media types of answers to STOW-RS."""
PLAIN = {"%2A": "*", "%3F": "?", "%2C": ",", "+": "%20"}
"""What dicomweb-client writes into a query -> what every service reads alike."""
BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
COUNT = "NumberOfSeriesRelatedInstances"
SERIES_FIELDS = {
    "study": "StudyInstanceUID", "series": "SeriesInstanceUID", "modality": "Modality", "body_part": "BodyPartExamined",
    "description": "SeriesDescription", "date": "StudyDate",
}  # fmt: skip
"""Fields of `RemoteSeries`, and what they are called in DICOM."""


@dataclass(frozen=True)
class RemoteSeries:
    """What a DICOMweb service says of a series; nothing that names a patient."""

    study: str
    series: str
    modality: str
    body_part: str
    description: str
    date: str
    instances: int | None

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


class DicomWeb:
    """A DICOMweb service.

    Args:
        url: Such as https://HOST/dicom-web.

    Raises:
        ConfigError: If the address is none, or credentials contradict one another or would go over the network in
            clear.
    """

    def __init__(self, url: str) -> None:
        check_url(url)
        self.url = url
        self._client = _make_client(url)

    def find(self, filters: Mapping[str, str], limit: int, offset: int = 0) -> list[RemoteSeries]:
        """Series that fit (QIDO-RS).

        Args:
            filters: DICOM keyword -> value; * and ? stand for any letters, dates may be ranges (20260101-20260131).
            limit: Most to return.
            offset: Number of series to skip.

        Raises:
            OutputError: If the service does not answer, or refuses.
        """
        with _answering(self.url):
            rows = self._client.search_for_series(
                search_filters=dict(filters),
                fields=[*SERIES_FIELDS.values(), COUNT],
                limit=limit,
                offset=offset or None,
            )
            return [_to_series(Dataset.from_json(row)) for row in rows]

    def fetch(
        self, study: str, series: str, folder: Path, most: int | None = None, instances: int | None = None
    ) -> int:
        """Write all instances of a series into a folder (WADO-RS); how many.

        Args:
            study: Its StudyInstanceUID.
            series: Its SeriesInstanceUID.
            folder: Folder to write into.
            most: Bytes that it may take; None without a limit.
            instances: Least number of instances, as `find` tells it; None if it is not known.

        Raises:
            ConfigError: If a UID is none.
            OutputError: If the service does not answer, sends what cannot be stored or not all of it, or the series is
                larger than readers take or ``most``.
        """
        check_uid(study, "study")
        check_uid(series, "series")
        number = size = 0
        with _answering(self.url):
            for dataset in self._client.iter_series(study, series):
                number += 1
                if number > FRAMES.value:
                    raise OutputError(
                        f"{self.url}: the series has more than {FRAMES.value} instances ({FRAMES.variable})."
                    )
                size += _save(dataset, folder / f"{number:06d}.dcm", self.url)
                if most is not None and size > most:
                    raise OutputError(
                        f"{self.url}: the series has more than the {most:,} bytes that there is room for."
                    )
        if not number:
            raise OutputError(f"{self.url}: has no instance of this series.")
        if instances is not None and number < instances:
            raise OutputError(f"{self.url}: sent {number} instances of the {instances} of this series; try again.")
        return number

    def store(self, file: Path) -> None:
        """Store a file (STOW-RS).

        Raises:
            OutputError: If the service does not answer, or refuses.
        """
        with quiet("pydicom"):
            dataset = dcmread(file)
        with _answering(self.url):
            answer = self._store(dataset)
            reasons = [each.get("FailureReason") for each in answer.get("FailedSOPSequence") or ()]
        if others := [each for each in reasons if each != DUPLICATE]:
            raise OutputError(f"{self.url}: refused an instance (reason {others[0]}).")

    def _store(self, dataset: Dataset) -> Dataset:
        """What the service says to an instance; also of one that it has already."""
        try:
            return self._client.store_instances([dataset])
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != CONFLICT:
                raise
            answer = Dataset.from_json(error.response.json())
            if not answer.get("FailedSOPSequence"):
                raise
            return answer


def _save(dataset: Dataset, path: Path, url: str) -> int:
    """Write an instance; its bytes."""
    try:
        with quiet("pydicom"):
            dataset.save_as(path, enforce_file_format=True)
    except Exception as error:  # pydicom's own, of every kind; their text may quote the instance
        raise OutputError(f"{url}: sent an instance that cannot be stored ({type(error).__name__}).") from error
    return path.stat().st_size


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """What goes wrong with a service as one error, without the answer's text: it may name patients."""
    try:
        yield
    except VesaliusError:
        raise
    except requests.HTTPError as error:
        code = 0 if error.response is None else error.response.status_code
        raise OutputError(f"{url}: answered with status {code}{REMEDIES.get(code, '')}.") from None
    except requests.exceptions.InvalidJSONError:
        raise OutputError(f"{url}: answered with something else than DICOM; is this its address?") from None
    except requests.exceptions.ChunkedEncodingError:
        raise OutputError(f"{url}: its answer was cut off; try again.") from None
    except (requests.RequestException, ConnectionError) as error:
        raise OutputError(
            f"{url}: does not answer ({type(error).__name__}); see whether it runs, and whether its address is right."
        ) from None
    except OSError as error:
        raise OutputError(f"{url}: what it sent cannot be kept ({error.strerror or type(error).__name__}).") from None
    except Exception:  # whatever pydicom and dicomweb-client make of pages, damaged files and odd JSON
        raise OutputError(f"{url}: answered with something else than DICOM; is this its address?") from None


class _PlainSession(requests.Session):
    """Sends a query's wildcards and commas as they are, which is allowed: Debian's Orthanc 1.10 decodes nothing."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        path, mark, query = str(request.url).partition("?")
        for escaped, letter in PLAIN.items():
            query = query.replace(escaped, letter)
        request.url = path + mark + query
        return super().prepare_request(request)


def _make_client(url: str) -> DICOMwebClient:
    token, user, password = _read_credentials()
    parts = urlsplit(url)
    if (token or user) and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigError(f"{url}: credentials would go over the network in clear; use https.")
    session = _PlainSession()
    session.trust_env = False  # no .netrc, no proxy that nobody named
    session.verify = _read_authorities()
    session.hooks["response"] += [_name_media_type, _check_whole]
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    elif user:
        session.auth = (user, password)
    client = DICOMwebClient(url, session=session, timeout=TIMEOUT_S)
    client.set_http_retry_params(retry=False)
    return client


def _read_credentials() -> tuple[str, str, str]:
    token, user, password = (os.environ.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if bool(user) != bool(password):
        given, lacking = (USER, PASSWORD) if user else (PASSWORD, USER)
        raise ConfigError(f"{given} is set and {lacking} is not; they belong together.")
    if token and user:
        raise ConfigError(f"{TOKEN} and {USER} are set; a service is shown one of them, so unset the other.")
    return token, user, password


def _read_authorities() -> str | bool:
    """A file of authorities that certificates are verified against; True for those that come with requests."""
    named = os.environ.get(AUTHORITIES, "")
    if named and not os.path.isfile(named):
        raise ConfigError(f"{AUTHORITIES} names {named}, which is no file; name a PEM file of authorities.")
    return named or True


def _name_media_type(response: requests.Response, *_: object, **__: object) -> None:
    """Leave out what follows a media type, such as a character set: dicomweb-client would not read the failures then.

    Raises:
        requests.HTTPError: If the service stored not all, and nobody could read what.
    """
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type in ANSWERS:
        response.headers["Content-Type"] = media_type
    elif response.status_code == requests.codes.accepted:
        response.close()
        raise requests.HTTPError(response=response)


def _check_whole(response: requests.Response, *_: object, **__: object) -> None:
    """Let an answer of several parts fail if it has not all of them, which dicomweb-client does not notice.

    Raises:
        requests.HTTPError: If the service says so.
    """
    media_type = response.headers.get("Content-Type", "")
    if not media_type.lower().startswith("multipart/"):
        return
    if response.status_code == requests.codes.partial_content:
        response.close()
        raise requests.HTTPError(response=response)
    if boundary := BOUNDARY.search(media_type):
        closing = f"--{boundary[1].rstrip()}--".encode()
        response.iter_content = partial(_until, closing, response.iter_content)  # type: ignore[method-assign]  # streamed


def _until(closing: bytes, read: Callable[..., Iterator[bytes]], *arguments: int, **options: int) -> Iterator[bytes]:
    """The same chunks; an error at their end if what closes them was not among them."""
    end, closed = b"", False
    for chunk in read(*arguments, **options):
        end += chunk
        closed = closed or closing in end
        end = end[-len(closing) :]
        yield chunk
    if not closed:
        raise requests.exceptions.ChunkedEncodingError


def _to_series(row: Dataset) -> RemoteSeries:
    count = row.get(COUNT)
    texts = {field: str(row.get(keyword, "")) for field, keyword in SERIES_FIELDS.items()}
    return RemoteSeries(**texts, instances=None if count is None else int(count))
