import numpy as np
import pytest

from vesalius.errors import DataError, PromptError
from vesalius.evaluation.naming.label_scores import LabelScores, truth_of
from vesalius.prompts.anatomy import AnatomyLabel


def test_truth_says_present_absent_and_uncertain():
    chest = AnatomyLabel(
        "CT", stations=frozenset({"chest"}), organs=frozenset({"heart"}), uncertain=frozenset({"lungs", "abdomen"})
    )
    unknown = AnatomyLabel.partial("MR")
    assert truth_of([chest, unknown], "organs", ["lungs", "heart", "brain"]).tolist() == [[-1, 1, 0], [-1, -1, -1]]
    assert truth_of([chest, unknown], "stations", ["head", "chest", "abdomen"]).tolist() == [[0, 1, -1], [-1, -1, -1]]


def test_a_label_that_does_not_exist_is_named():
    with pytest.raises(PromptError, match="Did you mean 'liver'"):
        truth_of([AnatomyLabel("CT")], "organs", ["livr"])


def test_patients_of_counts_each_patient_once(make_case):
    case = make_case(images=10, uncertain=0)
    assert case.patients_of(np.ones_like(case.present)).tolist() == [5, 5, 5]
    assert case.patients_of(np.zeros_like(case.present)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((2, 3), np.int8)}, r"got \(2, 2\), \(2, 3\)"),
        ({"groups": ("CT",)}, "1 groups"),
        ({"truth": np.full((2, 2), 2, np.int8)}, "found other numbers"),
        ({"scores": np.array([[0, 1], [np.nan, 0]])}, "image 1 of 'bo'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    facts = {
        "labels": ("a", "b"), "scores": np.zeros((2, 2)), "truth": np.zeros((2, 2), np.int8),
        "patients": ("ann", "bo"), "groups": ("CT", "MR"),
    }  # fmt: skip
    with pytest.raises(DataError, match=message):
        LabelScores(**{**facts, **change})


def test_a_score_of_what_is_uncertain_may_be_anything():
    truth = np.array([[1, -1]], np.int8)
    assert LabelScores(("a", "b"), np.array([[0.5, np.nan]]), truth, ("ann",), ("CT",)).known.tolist() == [
        [True, False]
    ]
