"""Prompts as users give them: one or several, none of them empty, none given twice."""

from collections.abc import Iterable

from vesalius.errors import PromptError

NO_PROMPT = 'A prompt is needed: say what to outline, for example "polyp" or "lungs".'


def check_prompt_text(prompt: object) -> str:
    """Refuse a prompt that no model can read.

    Raises:
        PromptError: If it is no string, or none that UTF-8 can hold, as where a shell gave other bytes.
    """
    if not isinstance(prompt, str):
        raise PromptError(f"Expected a prompt as text, or several, got {prompt!r} ({type(prompt).__name__}).")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"{prompt!r}: the prompt is not valid text (UTF-8); type it anew.") from error
    return prompt


def list_prompts(prompts: str | Iterable[str]) -> list[str]:
    """List one phrase, or several; they may be empty.

    Raises:
        PromptError: If there is none, or one that is no text.
    """
    alone = isinstance(prompts, str | bytes) or not isinstance(prompts, Iterable)
    listed = list(map(check_prompt_text, [prompts] if alone else prompts))
    if not listed:
        raise PromptError(NO_PROMPT)
    return listed


def check_prompts(prompts: str | Iterable[str]) -> list[str]:
    """List one phrase or several, as `list_prompts` does, and refuse empty ones.

    Raises:
        PromptError: If there is no prompt, an empty one, or one that is no text.
    """
    listed = list_prompts(prompts)
    if not all(each.strip() for each in listed):
        raise PromptError(NO_PROMPT)
    return listed


def check_distinct(prompts: str | Iterable[str]) -> list[str]:
    """List phrases as `check_prompts` does, and refuse one that is given twice: its results would be written twice.

    Raises:
        PromptError: As `check_prompts`, or if two phrases differ in nothing but case and the spaces around them.
    """
    listed = check_prompts(prompts)
    names = list(map(_fold, listed))
    twice = next((each for each, name in zip(listed, names, strict=True) if names.count(name) > 1), None)
    if twice is not None:
        raise PromptError(f"phrases: '{twice}' stands twice; name each once, in whatever case.")
    return listed


def distinct_prompts(prompts: Iterable[str]) -> list[str]:
    """Phrases each once, as first written, by the rule of `check_distinct`.

    >>> distinct_prompts(["polyp", "lungs", " Polyp"])
    ['polyp', 'lungs']
    """
    found: dict[str, str] = {}
    for each in prompts:
        found.setdefault(_fold(each), each)
    return list(found.values())


def _fold(prompt: str) -> str:
    return prompt.strip().casefold()
