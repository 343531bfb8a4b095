"""What the lines of a score card come to, in sentences."""

from collections.abc import Iterator, Sequence

from vesalius.evaluation.audit.line import Line

IGNORED = 0.01
"""Largest change of masks, on average, that counts as none."""


def conclude(lines: Sequence[Line]) -> tuple[str, ...]:
    """Say whether a model reads which object is meant, which details it reads, and whether other words move it."""
    changes = [line for line in lines if line.measure == "change"]
    if not changes:
        return ("No image shows anything, so the model was only asked for what is absent.",)
    if ignores_words(lines):
        return ("Ignores the prompt: whatever it is asked, it marks the same.",)
    return (_object(lines), *_details(changes), *_words(changes))


def ignores_words(lines: Sequence[Line]) -> bool:
    """Whether no exchange changes masks by as much as ``IGNORED``, to the upper end of the intervals."""
    changes = [line.value for line in lines if line.measure == "change"]
    return bool(changes) and all((each.value if each.high is None else each.high) < IGNORED for each in changes)


def _object(lines: Sequence[Line]) -> str:
    foreign = [line for line in lines if line.test == "absent"]
    changed = {line.kind for line in foreign if line.measure == "change" and line.verdict == "reads it"}
    asked = {line.kind for line in foreign if line.measure == "change"}
    loud = [line.kind for line in foreign if line.measure == "quiet" and line.verdict != "stays quiet"]
    if not loud and changed == asked:
        return "Reads which object is meant, and stays quiet about what is not there."
    if not loud:
        return "Stays quiet about what is not there, but often finds nothing when asked for the object either."
    if changed == asked:
        return f"Reads which object is meant, but marks things that are not there ({', '.join(loud)})."
    if changed:
        return f"Reads which object is meant in part: it marks things that are not there ({', '.join(loud)})."
    return f"Hardly reads which object is meant: it marks things that are not there ({', '.join(loud)})."


def _details(changes: Sequence[Line]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for line in changes:
        if line.test == "flip":
            kinds.setdefault(_FLIPPED.get(line.verdict, _UNCLEAR), []).append(line.kind)
    for sentence in dict.fromkeys((*_FLIPPED.values(), _UNCLEAR)):
        if sentence in kinds:
            yield sentence.format(_list(kinds[sentence]))


_FLIPPED = {
    "reads it": "Its masks follow words for {}.",
    "hardly heeds it": "Words for {} hardly move its masks.",
    "ignores it or hardly heeds it": "Words for {} hardly move its masks.",
    "ignores it": "It ignores words for {}.",
}
_UNCLEAR = "Whether its masks follow words for {} cannot be told from so few images."


def _words(changes: Sequence[Line]) -> Iterator[str]:
    verdicts = [line.verdict for line in changes if line.test == "wording"]
    if verdicts and all(verdict == "steady" for verdict in verdicts):
        yield "Other words for the same thing leave its masks nearly as they are."
    elif any("fickle" in verdict for verdict in verdicts):
        yield "Other words for the same thing can give another mask."


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
