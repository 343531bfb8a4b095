"""The benchmark's prompt families: p0 (empty) to p9, each a sentence or several variants of it."""

from collections.abc import Mapping, Sequence

from vesalius.errors import PromptError

Variants = str | Sequence[str]


def variants(prompts: Mapping[str, Variants], family: str) -> tuple[str, ...]:
    """All wordings of one family.

    >>> variants({"p1": "polyp", "p2": ["round polyp", "oval polyp"]}, "p2")
    ('round polyp', 'oval polyp')

    Raises:
        PromptError: If the record has no such family.
    """
    if family not in prompts:
        raise PromptError(f"prompts lack '{family}'; available: {', '.join(sort_families(prompts))}.")
    value = prompts[family]
    return (value,) if isinstance(value, str) else tuple(value)


def sort_families(names: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Families in the benchmark's order: p2 before p10, other names after them alphabetically."""

    def order(name: str) -> tuple[int, int, str]:
        number = name[1:]
        return (0, int(number), "") if name.startswith("p") and number.isdigit() else (1, 0, name)

    return sorted(names, key=order)
