"""Reports of made-up rows."""

from dataclasses import replace

import pytest

from vesalius.evaluation.report.builders import build_report
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.stored import StoredEvaluation


@pytest.fixture(scope="session")
def make_evaluation(make_row):
    """Twelve images under two families, the last two of which show nothing; scores fall by `worse`."""

    def make(name="one", *, worse=0.0, absent=2, existence=True, words="polyp"):
        rows = []
        for n in range(12):
            present = n < 12 - absent
            for family in ("p0", "p1"):
                score = 0.4 + n / 30 - worse if present else float(n % 2)
                facts = {
                    "prompt": "" if family == "p0" else words if present else "no polyp",
                    "true_pixels": 9 if present else 0,
                    "predicted_pixels": 9 if present or n % 2 == 0 else 0,
                    "existence": (0.2 + 0.06 * n if present else 0.3) if existence else None,
                }
                rows.append(make_row(f"{n:02}.png", family, score, **facts))
        return StoredEvaluation(
            name, f"model of {name}", "/data/kvasir", "test", "threshold 0.5", Evaluation(tuple(rows))
        )

    return make


@pytest.fixture
def report(make_evaluation):
    manifest = {"command": "vesalius evaluate", "machine": {"threads": 2}}
    return build_report(replace(make_evaluation(), manifest=manifest))
