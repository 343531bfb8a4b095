"""What is asked of each image: one prompt, and another to put in its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vesalius.data.annotations import ImageRecord
from vesalius.evaluation.audit.flips import ATTRIBUTES, flip
from vesalius.prompts import find_target, foreign_phrases, read_bank, sort_families, variants

AT_ONCE = 8
"""Phrases of a longer list that one image is asked; the next image is asked the next ones."""
UNRELATED = (
    "a bicycle", "an umbrella", "a cup of coffee", "a banana", "an aeroplane", "a guitar", "a dolphin", "a window",
)  # fmt: skip
"""Things no medical image shows. None is in the prompt bank, so no model of ours was trained to stay quiet about it."""


@dataclass(frozen=True)
class Exchange:
    """Two prompts about one image; what changes from the first to the second is the model's reading."""

    test: str
    """"wording", "swap", "empty", "absent" or "flip"."""
    kind: str
    """What the other prompt is, such as "paraphrases" or "side"."""
    reference: str
    prompt: str


def plan(records: Sequence[ImageRecord], number: int, target: str | None, given: Sequence[str] = ()) -> list[Exchange]:
    """Everything asked about one record whose mask is not empty.

    Args:
        records: All of the split, of which others lend their prompts.
        number: Which of them.
        target: Row of the prompt bank that its mask outlines, if it is known.
        given: Further phrases for what no image shows.
    """
    record = records[number]
    name = plain_name(record)
    return [
        *_reword(record, number, name, target),
        Exchange("empty", "no words", name, ""),
        *_swap(records, number, target),
        *_flip(record),
        *_absent(number, name, target, given),
    ]


def plan_nothing(record: ImageRecord, number: int, target: str | None, given: Sequence[str] = ()) -> list[Exchange]:
    """Everything asked about a record whose mask is empty: also its own prompts shall find nothing."""
    own = [wording for family in sort_families(record.prompts) for wording in variants(record.prompts, family)]
    exchanges = [Exchange("absent", "prompts of empty images", "", prompt) for prompt in dict.fromkeys(own) if prompt]
    return exchanges + list(_absent(number, plain_name(record), target, given))


def plain_name(record: ImageRecord) -> str:
    """The shortest true thing to say: the first family that has words, by custom p1; "" if none has."""
    wordings = (variants(record.prompts, family)[0] for family in sort_families(record.prompts))
    return next((wording for wording in wordings if wording), "")


def find_target_of(record: ImageRecord, known: str | None) -> str | None:
    """What the mask outlines: what the catalog knows, else the row of the bank that has the record's plain name."""
    if known:
        return known
    name = plain_name(record).lower()
    return next((row for row, target in read_bank().items() if name in map(str.lower, target.phrases)), None)


def _reword(record: ImageRecord, number: int, name: str, target: str | None) -> Iterator[Exchange]:
    own = [variants(record.prompts, family) for family in sort_families(record.prompts)]
    wordings = [each[number % len(each)] for each in own]
    yield from (Exchange("wording", "its own prompts", name, each) for each in wordings if each not in ("", name))
    if target:
        phrases = _take(find_target(target).phrases, number)
        yield from (Exchange("wording", "paraphrases", name, each) for each in phrases if each != name)


def _swap(records: Sequence[ImageRecord], number: int, target: str | None) -> Iterator[Exchange]:
    """The most detailed prompt, and that of a record half the split away; not one that says nothing is there."""
    record = records[number]
    family = sort_families(record.prompts)[-1]
    own = variants(record.prompts, family)[0]
    denials = find_target(target).absences if target else ()
    start = number + len(records) // 2
    for place in range(start, start + len(records)):
        prompts = records[place % len(records)].prompts
        other = variants(prompts, family)[0] if family in prompts else own
        if other and other != own and other not in denials:
            yield Exchange("swap", f"another image's {family}", own, other)
            return


def _flip(record: ImageRecord) -> Iterator[Exchange]:
    """Each attribute in the first family that speaks of it, so that little else is said."""
    wordings = [variants(record.prompts, family)[0] for family in sort_families(record.prompts)]
    for attribute in ATTRIBUTES:
        flipped = ((each, flip(each, attribute)) for each in wordings)
        found = next(((each, other) for each, other in flipped if other), None)
        if found:
            yield Exchange("flip", attribute, *found)


def _absent(number: int, name: str, target: str | None, given: Sequence[str]) -> Iterator[Exchange]:
    """Phrases for what the image does not show."""
    phrases: dict[str, Sequence[str]] = {"unrelated things": UNRELATED, "given phrases": given}
    if target:
        denials, names, *others, _ = foreign_phrases(target)
        more = _take([phrase for each in others for phrase in each], number)
        phrases |= {"denials": denials, "other targets": (*names, *more)}
    for kind, several in phrases.items():
        yield from (Exchange("absent", kind, name, each) for each in dict.fromkeys(several))


def _take(phrases: Sequence[str], number: int) -> list[str]:
    start = number * AT_ONCE
    return [phrases[place % len(phrases)] for place in range(start, start + min(AT_ONCE, len(phrases)))]
