"""``vesalius prompts check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from vesalius.prompts.proofs import Proof


def prompts_check(
    *,
    templates: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Render every template with every word it may get, show one prompt of each family, and say what is wrong.

    Exit codes:
        1: Something is wrong with a template.

    Examples:
        vesalius prompts check
        vesalius prompts check --templates mine.toml

    Documentation:
        docs/prompts.md

    Args:
        templates: TOML file whose wordings, classes and sets extend the package's.
        as_json: Print one JSON object.
    """
    import sys
    from dataclasses import asdict

    from vesalius.console import print_json
    from vesalius.prompts import read_templates
    from vesalius.prompts.proofs import prove_templates

    proofs = prove_templates(read_templates(templates), _token_counter())
    faults = [fault for proof in proofs for fault in proof.faults()]
    prompts = len({prompt for proof in proofs for _, prompt in proof.wordings})
    if as_json:
        examples = {f"{proof.family_set.name}, {proof.outlined.name}": proof.example for proof in proofs}
        print_json({"prompts": prompts, "faults": [asdict(fault) for fault in faults], "examples": examples})
    else:
        _print(proofs)
        _print_faults(faults=[f"{fault.place}: {fault.message}" for fault in faults], prompts=prompts)
    if faults:
        sys.exit(1)


def _token_counter() -> "Callable[[str], int]":
    from instant_clip_tokenizer import Tokenizer

    pairs = Tokenizer()
    return lambda prompt: len(pairs.encode(prompt)) + 2


def _print(proofs: "list[Proof]") -> None:
    """One table a set, for the first of its objects."""
    from vesalius.console import print_table
    from vesalius.prompts import variants

    for proof in {each.family_set.name: each for each in reversed(proofs)}.values():
        wordings = {family: variants(proof.example, family) for family in proof.example}
        objects = ", ".join(each.outlined.name for each in proofs if each.family_set == proof.family_set)
        print_table(
            ("family", "for example", "wordings"),
            [(family, each[0], len(each)) for family, each in wordings.items()],
            title=f"{proof.family_set.name} ({proof.family_set.title}): {objects}",
        )


def _print_faults(faults: list[str], prompts: int) -> None:
    from vesalius.console import say

    for fault in faults:
        say(fault)
    say(f"{prompts:,} different prompts; {len(faults) or 'nothing'} wrong.")
