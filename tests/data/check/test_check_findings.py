import ast
from pathlib import Path

import vesalius.data.check
from vesalius.data.check import CheckFinding, Place, Severity, read_kinds
from vesalius.data.check.facts import ValueKind

SOURCE = Path(vesalius.data.check.__file__).parent


def named_kinds() -> set[str]:
    """Every text in the source that names a kind."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.glob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    made = {f"{kind}_in_mask" for kind in ValueKind if kind is not ValueKind.BINARY}
    return (texts & read_kinds().keys()) | (made & read_kinds().keys())


def test_every_kind_is_used_and_told():
    assert named_kinds() == set(read_kinds())
    for kind in read_kinds().values():
        assert all(text.endswith(".") for text in (kind.matters, kind.remedy))
        assert not kind.title.endswith(".")


def test_kinds_of_masks_all_exist():
    assert {f"{kind}_in_mask" for kind in ValueKind if kind is not ValueKind.BINARY} <= read_kinds().keys()


def test_kinds_come_gravest_first():
    grades = [kind.severity for kind in read_kinds().values()]
    assert grades == sorted(grades, key=list(Severity).index)


def test_a_finding_knows_its_severity_and_its_splits():
    places = (Place("images/a.png", "test", 3), Place("images/b.png", "train", 0), Place("images/c.png"))
    finding = CheckFinding("duplicate_across_splits", "…", places)
    assert finding.severity is Severity.ERROR
    assert finding.splits() == {"train", "test"}
