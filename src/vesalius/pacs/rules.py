"""Which series are worked on, and how: the rules of a TOML file, read strictly; docs/pacs.md shows all of it."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.addresses import check_aet, check_url
from vesalius.errors import ConfigError, unknown_name
from vesalius.files import read_toml
from vesalius.models.checkpoint_file import Job
from vesalius.tables import build, to_table

LONGEST_PATTERN = 500
NOT_IMAGES = frozenset(
    "AU DOC ECG FID HD KO M3D PLAN PR REG RTDOSE RTPLAN RTRECORD RTSTRUCT RWV SEG SR".split()  # noqa: SIM905 - shorter so
)
"""Modalities of series without images of a patient. Rules only fit them if they ask for them: an archive that forwards
everything sends results back, too."""
SECONDS_PER_DAY = 86400.0
BYTES_PER_GIGABYTE = 2**30


@dataclass(frozen=True)
class SeriesFacts:
    """What rules ask of a series, from its header."""

    modality: str
    body_part: str
    descriptions: tuple[str, ...]


@dataclass(frozen=True)
class Destination:
    """Where results go."""

    aet: str = ""
    """AE title of a C-STORE provider."""
    host: str = ""
    port: int = 0
    tls: bool = False
    """Whether TLS is spoken with a C-STORE provider; its certificate is verified."""
    url: str = ""
    """Address of a DICOMweb service, such as https://pacs.example.org/dicom-web."""

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.aet):
            raise ConfigError("give either url (STOW-RS) or aet, host and port (C-STORE).")
        if self.url:
            if self.host or self.port or self.tls:
                raise ConfigError("host, port and tls go with aet (C-STORE); url says all that of a DICOMweb service.")
            check_url(self.url)
            return
        check_aet(self.aet)
        if not self.host or not 0 < self.port < 2**16:
            raise ConfigError(f"expected host and a port from 1 to 65535, got '{self.host}' and {self.port}.")


@dataclass(frozen=True)
class Rule:
    """Which series, and what is done with them."""

    name: str
    task: Job
    send_to: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    """Modalities that it is for; all images if none is given."""
    body_part: tuple[str, ...] = ()
    """Body parts that it is for; all if none is given. Only such rules fit series without BodyPartExamined."""
    description: str = ""
    """A regular expression that SeriesDescription or StudyDescription has to match somewhere."""

    def __post_init__(self) -> None:
        if any("" in texts for texts in (self.phrases, self.modality, self.body_part)):
            raise ConfigError("phrases, modality and body_part hold no empty texts.")
        if bool(self.phrases) != (self.task == "segment"):
            raise ConfigError(f'task "{self.task}" {"needs" if self.task == "segment" else "takes no"} phrases.')
        if not self.send_to:
            raise ConfigError("send_to names no destination.")
        if len(self.description) > LONGEST_PATTERN:
            raise ConfigError(
                f"description has {len(self.description)} characters, at most {LONGEST_PATTERN} are read."
            )
        try:
            re.compile(self.description)
        except re.error as error:
            raise ConfigError(f"description is no regular expression: {error}.") from error

    def fits(self, series: SeriesFacts) -> bool:
        """Whether it is for a series; what is no image has to be asked for by its modality."""
        modality = series.modality.upper()
        return (
            (modality in _upper(self.modality) if self.modality else modality not in NOT_IMAGES)
            and (not self.body_part or series.body_part.upper() in _upper(self.body_part))
            and (not self.description or any(re.search(self.description, each) for each in series.descriptions))
        )


@dataclass(frozen=True)
class QueueSettings:
    """How long the queue waits, and how much it keeps."""

    rest_seconds: float = 30.0
    """Time after which a series is whole if nothing of it has arrived."""
    quota_gigabytes: float = 50.0
    """Largest size of all instances together; more are refused."""
    attempts: int = 5
    """Attempts to make results, and as many to send them; then a series is a dead letter."""
    retry_seconds: float = 60.0
    """Wait before the second attempt, which doubles each time."""
    keep_days: float = 7.0
    """Time that a series is kept after it was done, refused or given up."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if not 0 <= value < math.inf or (value == 0 and each.name in ("quota_gigabytes", "attempts")):
                raise ConfigError(f"{each.name}: expected a positive number, got {value}.")

    @property
    def quota_bytes(self) -> int:
        """The quota."""
        return int(self.quota_gigabytes * BYTES_PER_GIGABYTE)

    @property
    def keep_seconds(self) -> float:
        """`keep_days` in seconds."""
        return self.keep_days * SECONDS_PER_DAY


@dataclass(frozen=True)
class PacsRules:
    """A file of rules."""

    rules: tuple[Rule, ...]
    destinations: Mapping[str, Destination]
    queue: QueueSettings = field(default_factory=QueueSettings)

    def of(self, series: SeriesFacts) -> list[Rule]:
        """All rules that fit; each of them is carried out."""
        return [rule for rule in self.rules if rule.fits(series)]


def read_pacs_rules(path: Path) -> PacsRules:
    """Read a file of rules.

    Raises:
        ConfigError: If it cannot be read, has unknown keys, or values of a wrong kind; the message says where.
    """
    tables = read_toml(path)
    if others := sorted(tables.keys() - {"queue", "destination", "rule"}):
        raise ConfigError(f"{path}: {unknown_name('table', others[0], ('queue', 'destination', 'rule'))}")
    named = to_table(tables.get("destination", {}), f"{path} [destination]")
    destinations = {name: build(Destination, row, f"{path} [destination.{name}]") for name, row in named.items()}
    rows = tables.get("rule", [])
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{path}: has no [[rule]], so nothing would ever be done.")
    rules = tuple(build(Rule, row, f"{path} [[rule]] {place}") for place, row in enumerate(rows, start=1))
    for rule in rules:
        for name in rule.send_to:
            if name not in destinations:
                raise ConfigError(f"{path} [[rule]] '{rule.name}': {unknown_name('destination', name, destinations)}")
    names = [rule.name for rule in rules]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path}: two rules are called '{doubled[0]}'; give each a name of its own.")
    return PacsRules(rules, destinations, build(QueueSettings, tables.get("queue", {}), f"{path} [queue]"))


def _upper(names: tuple[str, ...]) -> set[str]:
    return {name.upper() for name in names}
