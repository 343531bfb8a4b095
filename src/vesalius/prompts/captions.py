"""Prompts of one record: the templates of a set, filled with the words for what the mask outlines."""

import re
from collections.abc import Iterator, Mapping, Sequence

from vesalius.prompts.families import Variants
from vesalius.prompts.templates import PLACEHOLDER, FamilySet, ObjectWords

Words = Mapping[str, str]


def write_prompts(
    family_set: FamilySet,
    outlined: ObjectWords,
    attributes: Words | None,
    *,
    file_name: str = "",
    present: Sequence[str] = (),
) -> dict[str, Variants]:
    """All families of one record.

    >>> from vesalius.prompts import read_templates
    >>> templates = read_templates()
    >>> found = {"number": "one", "size": "small", "location": "top", "shape": "oval", "colour": "pink"}
    >>> write_prompts(templates.find_set("endoscopy"), templates.find_object("polyp"), found)["p5"]
    'one small pink oval polyp'

    Args:
        family_set: The templates.
        outlined: Names and definitions of the object.
        attributes: Words for number, size, location, shape and colour; None if the mask is empty.
        file_name: Name from which the set's `file_words` are told.
        present: Names of all that is outlined on the image.

    Returns:
        A string for each family, or a list where it has several wordings. Families of which every template asks for a
        word that is not known are left out.
    """
    words = _name_object(outlined, attributes) | _read_file_words(family_set, file_name)
    if attributes is None:
        return {family: _write_absent(family_set, family, words) for family in family_set.families}
    words |= {"present": ", ".join(present or (outlined.name,)), **attributes}
    made = {family: _fill_family(family_set, family, words, outlined.definitions) for family in family_set.families}
    return {family: _unwrap(wordings) for family, wordings in made.items() if wordings}


def fill_template(template: str, words: Words, *, sentence: bool = False) -> str | None:
    """One prompt.

    >>> fill_template("{number} {kind?} {class}", {"number": "one", "class": "cyst"})
    'one cyst'

    Args:
        template: Text with {word} or {word?}.
        words: What they stand for.
        sentence: Begin with a capital letter.

    Returns:
        None if a word is not known; one with a question mark is then left blank instead.
    """
    asked = [match for match in PLACEHOLDER.finditer(template) if not match["optional"]]
    if any(match["word"] not in words for match in asked):
        return None
    filled = PLACEHOLDER.sub(lambda match: words.get(match["word"], ""), template)
    prompt = re.sub(r"\s+", " ", filled).strip()
    return prompt[:1].upper() + prompt[1:] if sentence else prompt


def _name_object(outlined: ObjectWords, attributes: Words | None) -> dict[str, str]:
    alone = attributes is not None and attributes.get("number") == "one"
    return {"class": outlined.name, "classes": outlined.name if alone else outlined.plural}


def _read_file_words(family_set: FamilySet, file_name: str) -> dict[str, str]:
    """The word of the first piece that the name holds."""
    name, found = file_name.lower(), {}
    for word, pieces in family_set.file_words.items():
        said = next((said for piece, said in pieces.items() if piece.lower() in name), None)
        if said is not None:
            found[word] = said
    return found


def _write_absent(family_set: FamilySet, family: str, words: Words) -> Variants:
    if family_set.families[family] == ("",):
        return ""
    return _unwrap(list(_fill_all(family_set.absent, words, family_set)))


def _fill_family(family_set: FamilySet, family: str, words: Words, definitions: Sequence[str]) -> list[str]:
    choices = [{**words, "definition": definition} for definition in definitions] or [dict(words)]
    filled = [prompt for each in choices for prompt in _fill_all(family_set.families[family], each, family_set)]
    return list(dict.fromkeys(filled))


def _fill_all(templates: Sequence[str], words: Words, family_set: FamilySet) -> Iterator[str]:
    for template in templates:
        prompt = fill_template(template, words, sentence=family_set.sentence)
        if prompt is not None:
            yield prompt


def _unwrap(wordings: list[str]) -> Variants:
    return wordings[0] if len(wordings) == 1 else wordings
