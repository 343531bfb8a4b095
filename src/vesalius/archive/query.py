"""How a search is read: words that name labels, words of headers, learnt targets, and unknown words."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from vesalius.archive.index import HEADER_FIELDS
from vesalius.errors import ConfigError, unknown_name
from vesalius.files import read_package_toml
from vesalius.naming.phrasebook import LABELS
from vesalius.prompts.anatomy import PROTOCOL_MODALITY
from vesalius.prompts.codes import codes_of
from vesalius.prompts.lexicon import Words, join, read_names, to_words

LONGEST_NAME = 5
"""Words of the longest name that is looked for."""
TEXT_FIELDS = ("BodyPartExamined", "SeriesDescription", "ProtocolName")
"""Header attributes whose words a phrase may have."""
WHERE_LABELS = {
    "modality": "modality",
    "protocol": "protocol",
    "plane": "plane",
    "station": "stations",
    "organ": "organs",
}
"""Field of --where -> question whose label it gives."""
WHERE_FIELDS = (*WHERE_LABELS, *HEADER_FIELDS[1:], "path")
Use = Literal["label", "header", "target", "ignored", "unknown"]


@dataclass(frozen=True)
class ReadWords:
    """What some neighbouring words of a phrase were taken for."""

    words: str
    use: Use
    question: str = ""
    """Question that the label answers; of labels only."""
    label: str = ""
    """A label, or the learnt target."""


@dataclass(frozen=True)
class PhraseReading:
    """A phrase, word for word."""

    phrase: str
    parts: tuple[ReadWords, ...]

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Question and label of all that are named, each once.

        Those within the names of targets ("liver tumour") count, and MR where there is a protocol and no modality.
        """
        named = dict.fromkeys(pair for each in self.parts for pair in _labels_of(each))
        questions = {question for question, _ in named}
        implied = [("modality", PROTOCOL_MODALITY)] if "protocol" in questions and "modality" not in questions else []
        return (*implied, *named)

    @property
    def vector_phrase(self) -> str:
        """What the text encoder is given.

        Words that only headers have are left out, and words that nothing knows, too, unless there are no others.
        """
        known = [each.words for each in self.parts if each.use in ("label", "target", "ignored")]
        if not any(each.use in ("label", "target") for each in self.parts):
            return "" if self.words("header") else self.phrase
        return " ".join(known)

    def words(self, use: Use) -> list[str]:
        """The words of one use."""
        return [each.words for each in self.parts if each.use == use]

    def tell(self) -> list[str]:
        """Lines for people: what was understood as what, and what was not."""
        named = [f"{each.words}: {each.question.removesuffix('s')} {each.label}" for each in self.parts if each.label]
        lines = [f"Read as {', '.join(named)}."] if named else []
        if header := self.words("header"):
            lines.append(f"Looked for in descriptions of series: {', '.join(header)}.")
        if unknown := self.words("unknown"):
            lines.append(
                f"Not understood: {', '.join(unknown)}; no label, no description's word, nothing the model learnt"
                f"{', so the order of what follows is a guess' if self.vector_phrase == self.phrase else ''}."
            )
        return lines

    def to_dict(self) -> dict[str, object]:
        """The reading as JSON's types."""
        return {
            "phrase": self.phrase,
            "labels": [{"question": question, "label": label} for question, label in self.labels],
            "header_words": self.words("header"),
            "targets": self.words("target"),
            "not_understood": self.words("unknown"),
            "vector_phrase": self.vector_phrase,
        }


def _labels_of(part: ReadWords) -> list[tuple[str, str]]:
    if part.use == "label":
        return [(part.question, part.label)]
    inner = _read(tuple(part.words.split()), _names(), ()) if part.use == "target" else ()
    return [(each.question, each.label) for each in inner if each.use == "label"]


def read_search_phrase(phrase: str, header_words: Collection[str], targets: Collection[str]) -> PhraseReading:
    """Read a phrase from left to right, the longest name first.

    >>> [part.label for part in read_search_phrase("sagittal knee T2", (), ()).parts]
    ['sagittal', 'knee', 'T2']

    Args:
        phrase: Any words.
        header_words: Words that occur in descriptions of series, as ``to_words`` gives them.
        targets: Targets that the model learnt.
    """
    parts = []
    denied = False
    for part in _read(to_words(phrase), {**_names(), **_target_names(frozenset(targets))}, header_words):
        denied = denied or part.words in _said("denials")
        parts.append(ReadWords(part.words, "unknown") if denied else part)
    return PhraseReading(phrase, tuple(each for each in parts if each.words != ","))


def _read(
    words: Words, names: Mapping[str, tuple[Use, str, str]], header_words: Collection[str]
) -> Iterator[ReadWords]:
    """All words from left to right, in pieces that belong together."""
    while words:
        length, part = _take(words, names, header_words)
        yield part
        words = words[length:]


def _take(
    words: Words, names: Mapping[str, tuple[Use, str, str]], header_words: Collection[str]
) -> tuple[int, ReadWords]:
    """How many of the first words belong together, and what they are."""
    for length in range(min(LONGEST_NAME, len(words)), 0, -1):
        if "," not in words[:length] and (found := names.get(join(words[:length]))):
            use, question, label = found
            return length, ReadWords(" ".join(words[:length]), use, question, label)
    if words[0] in _said("nothing"):
        return 1, ReadWords(words[0], "ignored")
    return 1, ReadWords(words[0], "header" if words[0] in header_words else "unknown")


@cache
def _names() -> Mapping[str, tuple[Use, str, str]]:
    """Names of labels as keys (``lexicon.join``)."""
    further = read_package_toml("archive/query.toml")
    found: dict[str, tuple[Use, str, str]] = {}
    for question, labels in LABELS.items():
        for label in labels:
            for name in (label, *further[question].get(label, ()), *_codes(question, label)):
                found.setdefault(join(to_words(name)), ("label", question, label))
    return found


def _codes(question: str, label: str) -> Iterator[str]:
    if question in ("stations", "organs"):
        codes = codes_of(label)
        yield from (code.meaning for code in codes.sct)
        if codes.body_part:
            yield codes.body_part


def _target_names(targets: frozenset[str]) -> Mapping[str, tuple[Use, str, str]]:
    """Names of learnt targets that no label has."""
    return {key: ("target", "target", name) for key, name in read_names(targets).targets.items() if key not in _names()}


@cache
def _said(kind: str) -> frozenset[str]:
    return frozenset(word for each in read_package_toml("archive/query.toml")["said"][kind] for word in to_words(each))


@dataclass(frozen=True)
class Where:
    """Conditions that every answer meets."""

    labels: tuple[tuple[str, str], ...] = ()
    """Question and label."""
    fields: tuple[tuple[str, str], ...] = ()
    """Header attribute, or "path", and the text or pattern that it has."""

    def allows(self, source: str, header: Mapping[str, str]) -> bool:
        """Whether a series meets the conditions on headers and paths.

        Args:
            source: Its first file, relative to the archive.
            header: Its ``HEADER_FIELDS``.
        """
        return all(
            fnmatchcase(source, value) if name == "path" else value.casefold() in header[name].casefold()
            for name, value in self.fields
        )


def read_where(conditions: Sequence[str]) -> Where:
    """Read conditions such as "modality=MR" or "path=2024/*".

    Raises:
        ConfigError: If one has no value, or there is no such field or label.
    """
    labels, fields = [], []
    for condition in conditions:
        name, sign, value = (part.strip() for part in condition.partition("="))
        if not sign or not value:
            raise ConfigError(f"--where {condition}: expected FIELD=VALUE, such as modality=MR.")
        field = next((each for each in WHERE_FIELDS if each.casefold() == name.casefold().replace("-", "")), None)
        if field is None:
            raise ConfigError(f"--where {condition}: {unknown_name('field', name, WHERE_FIELDS)}")
        if field in WHERE_LABELS:
            labels.append(_read_label(condition, WHERE_LABELS[field], value))
        else:
            fields.append((field, value))
    return Where(tuple(labels), tuple(fields))


def _read_label(condition: str, question: str, value: str) -> tuple[str, str]:
    _, found, label = _names().get(join(to_words(value)), ("", "", ""))
    if found != question:
        raise ConfigError(f"--where {condition}: {unknown_name('label', value, LABELS[question])}")
    return question, label
