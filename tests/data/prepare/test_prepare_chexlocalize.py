import json

import numpy as np
import pytest
from tiny_originals import SIZE, all_rows, blob, save_picture

from vesalius.errors import DataError
from vesalius.imaging import read_mask

NAMES = [f"patient6454{number}_study1_view1_frontal" for number in range(4)]


def runs(mask: np.ndarray) -> dict[str, object]:
    flat = mask.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()}


@pytest.fixture
def original(tmp_path):
    findings = {}
    for number, name in enumerate(NAMES):
        patient, study, view = name.split("_", 2)
        save_picture(tmp_path / f"chex/CheXpert/val/{patient}/{study}/{view}.jpg", number)
        findings[name] = {"Airspace Opacity": runs(blob(number)), "Edema": runs(blob(-1))}
    (tmp_path / "chex/CheXlocalize").mkdir()
    path = tmp_path / "chex/CheXlocalize/gt_segmentations_val.json"
    path.write_text(json.dumps(findings))
    return tmp_path / "chex", path, findings


def test_every_finding_that_is_outlined_is_a_record(original, prepare_original):
    report = prepare_original("chexlocalize", original[0])
    rows = {row["mask_name"]: row for row in all_rows(report.dest)}
    assert rows.keys() == {f"{name}_airspace_opacity.png" for name in NAMES}
    row = rows[f"{NAMES[2]}_airspace_opacity.png"]
    assert row["img_name"] == f"{NAMES[2]}.jpg"
    assert row["prompts"] == {"p0": "", "p1": "airspace opacity"}
    np.testing.assert_array_equal(read_mask(report.dest / "masks" / row["mask_name"]), blob(2))


def test_findings_that_are_wrong_are_named_and_the_others_stay(original, prepare_original):
    root, path, findings = original
    findings[NAMES[0]]["Edema"] = {"size": list(SIZE), "counts": [3]}
    findings[NAMES[1]]["Edema"] = runs(blob(0, (5, 5)))
    findings[NAMES[2]]["Edema"] = "none"
    findings["patient1_study1_view1_frontal"] = {}
    findings[NAMES[3]] = []
    path.write_text(json.dumps(findings))
    (path.parent / "gt_segmentations_test.json").write_text('{"images": [], "annotations": [], "categories": []}')
    report = prepare_original("chexlocalize", root)
    assert sum(report.records.values()) == 3
    told = "\n".join(map(str, report.problems))
    assert f"gt_segmentations_val.json, '{NAMES[0]}', 'Edema': left out; run lengths sum up to 3" in told
    assert f"'{NAMES[1]}', 'Edema': left out; is [5, 5], expected the image's [20, 24]" in told
    assert f"'{NAMES[2]}', 'Edema': left out; expected {{\"size\"" in told
    assert "'patient1_study1_view1_frontal': has no image" in told
    assert f"'{NAMES[3]}': expected an object of findings" in told
    assert "gt_segmentations_test.json: expected an object of images" in told


def test_without_findings_the_expected_layout_is_told(original, prepare_original):
    original[1].unlink()
    with pytest.raises(DataError, match=r"has images but no findings; expected CheXpert"):
        prepare_original("chexlocalize", original[0])
