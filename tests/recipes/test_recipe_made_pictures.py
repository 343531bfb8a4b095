"""Pictures that pocket's recipe makes: heads of two equal halves, healthy heads by a table, slices of CTs."""

import json
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from vesalius.data.annotations import SPLITS, read_annotations
from vesalius.prompts import find_target

TABLE = Path(__file__).parents[2] / "experiments" / "pocket" / "healthy_heads.toml"


@pytest.fixture(scope="module")
def heads(import_script):
    return import_script("experiments/pocket", "prepare_heads")


def write_head(root: Path, *lesions: tuple[float, float], turn: float = 0.0) -> list[Path]:
    """A head whose halves are nearly alike, with round lesions; its picture and mask."""
    down, across = np.mgrid[-1:1:160j, -1:1:160j]
    angle = np.deg2rad(turn)
    y, x = down * np.cos(angle) - across * np.sin(angle), down * np.sin(angle) + across * np.cos(angle)
    rows = np.random.default_rng(0).uniform(0.2, 0.6, 16)[np.clip(((y + 1) * 8).astype(int), 0, 15)]
    grey = np.where((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1, rows + 0.2 * np.abs(x), 0)
    mask = np.zeros_like(grey, bool)
    for row, column in lesions:
        mask |= (y - row) ** 2 + (x - column) ** 2 < 0.02
    grey[mask] = 0.95
    paths = [root / "images" / "a.png", root / "masks" / "a.png"]
    for path, content in zip(paths, (grey * 255, mask * 255), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content.astype(np.uint8)).save(path)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0.0, 11.0])
def test_each_half_stands_beside_its_mirror_image(heads, tmp_path, turn):
    _, mask = write_head(tmp_path, (0.1, 0.3), turn=turn)
    left, right = heads.doubled(tmp_path, "a.png", [mask], "brain_tumour")
    assert left.targets == {"brain_tumour": None}
    assert left.grey.max() < 0.9, "the lesion is left in the healthy half"
    outline = right.targets["brain_tumour"]
    before = np.asarray(Image.open(mask).resize((heads.SIDE, heads.SIDE))) > 127
    assert outline.sum() == pytest.approx(2 * before.sum(), rel=0.05)
    for picture in (left.grey, right.grey, outline):
        assert np.array_equal(picture, picture[:, ::-1])
    assert right.grey[outline].mean() > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("lesions", [[(0.0, 0.3), (0.0, -0.3)], [(0.1, 0.02)], []])
def test_a_picture_without_a_healthy_and_an_ill_half_gives_none(heads, tmp_path, lesions):
    _, mask = write_head(tmp_path, *lesions)
    assert list(heads.doubled(tmp_path, "a.png", [mask], "brain_tumour")) == []


@pytest.mark.slow
def test_a_head_lying_on_its_side_stays_so(heads, tmp_path):
    for path in write_head(tmp_path, (0.1, 0.3)):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    pictures = [head.grey for head in heads.doubled(tmp_path, "a.png", [tmp_path / "masks" / "a.png"], "brain_tumour")]
    assert len(pictures) == 2
    assert all(np.array_equal(each, each[::-1]) for each in pictures)


def test_every_series_is_named_once_with_slices_a_split_and_targets_of_the_bank():
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["series"]
    assert len({row["file"] for row in rows}) == len(rows)
    for row in rows:
        first, last = row["slices"]
        assert 0 <= first <= last
        assert row["split"] in SPLITS
        assert row["modality"] in ("ct", "mr")
        assert all(find_target(each) for each in row.get("lacks", ()))
    train, val, test = ({row["file"].rpartition("_")[0] for row in rows if row["split"] == split} for split in SPLITS)
    assert not train & val
    assert not (train | val) & test


@pytest.fixture(scope="module")
def scans(import_script):
    return import_script("experiments/pocket", "prepare_people")


def disc(row: float, column: float, radius: float, side: int = 96) -> np.ndarray:
    down, across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return (down - row) ** 2 + (across - column) ** 2 < radius**2


def test_lungs_are_found_and_neither_the_air_outside_nor_gas_nor_the_table(scans):
    chest = np.where(disc(0, 0, 0.75), 40.0, -1000.0)
    chest[90:93] = 200  # the table
    abdomen = np.where(disc(-0.2, 0, 0.08), -900.0, chest)
    lungs = disc(0, -0.35, 0.25) | disc(0, 0.35, 0.25)
    volume = np.stack([abdomen] * 4 + [np.where(lungs, -800.0, chest)] * 6)
    found = scans.find_lungs(volume)
    assert not found[:4].any()
    assert (found[4:] == lungs).mean() > 0.995


def test_a_ring_of_bone_with_small_gaps_encloses_a_brain(scans):
    brain, ring = disc(0, 0, 0.6), disc(0, 0, 0.7) & ~disc(0, 0, 0.6)
    ring[46:50, :30] = False  # a suture
    away = disc(0.85, 0.85, 0.08)  # the table
    found, skull = scans.find_brain(ring | away, brain, 2.0)
    assert (found == brain).mean() > 0.99
    assert (skull == ring).mean() > 0.99


@pytest.mark.parametrize("what", ["an open ring", "air in it", "a small ring"])
def test_a_slice_on_which_not_all_is_brain_has_none(scans, what):
    radius = 0.2 if what == "a small ring" else 0.6
    brain, ring = disc(0, 0, radius), disc(0, 0, radius + 0.1) & ~disc(0, 0, radius)
    if what == "an open ring":
        ring[48:] = False
    if what == "air in it":
        brain &= ~disc(0, 0, 0.3)
    assert scans.find_brain(ring, brain, 2.0) is None


def test_a_heart_between_two_outlines_lies_between_them(scans):
    small, large = [(40, 40), (60, 40), (60, 60), (40, 60)], [(30, 30), (70, 30), (70, 70), (30, 70)]
    hearts = scans.draw_hearts({7: large, 3: small})
    assert sorted(hearts) == [3, 4, 5, 6, 7]
    assert [hearts[each].mean() for each in (3, 7)] == pytest.approx([0.04, 0.16], rel=0.04)
    assert hearts[5].mean() == pytest.approx(0.09, rel=0.05)
    assert all((hearts[index] <= hearts[index + 1]).all() for index in range(3, 7))


def test_hearts_are_outlined_where_labels_do_not_say_that_there_is_none(scans):
    rows = {row["file"]: row for row in scans.read_rows()}
    for file, outlines in scans.read_hearts().items():
        assert rows[file]["modality"] == "CT"
        for index, points in outlines.items():
            assert not scans.lacks(scans.label_of(rows[file], int(index)), "heart"), f"{file}: {index}"
            assert len(points) >= 8
            assert all(0 <= number <= 100 for point in points for number in point)


def test_nobody_is_in_two_splits_or_compared_with_elsewhere(scans):
    people = {row["patient"] for row in scans.read_rows()}
    assert not scans.VAL & scans.TEST
    assert people >= scans.VAL | scans.TEST | scans.LEFT_OUT
    assert not (scans.VAL | scans.TEST) & scans.LEFT_OUT
    heads = tomllib.loads(TABLE.read_text(encoding="utf-8"))["series"]
    patients = {row["file"]: row["patient"] for row in scans.read_rows()}
    for row in (row for row in heads if row["file"] in patients):
        patient = patients[row["file"]]
        assert patient in scans.LEFT_OUT or scans.split_of(patient) == row["split"], row["file"]


@pytest.mark.slow
def test_slices_of_a_labelled_ct_show_an_organ_or_lack_it_or_are_not_asked_about(import_script, tmp_path, monkeypatch):
    labels = np.zeros((24, 24, 24), np.int16)
    labels[6:18, 6:18, 12:] = 1
    for name, values in (("ct", 40 + labels), ("segmentation", labels)):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
    (tmp_path / "labels.json").write_text(json.dumps({"1": "liver"}))
    monkeypatch.setattr("sys.argv", ["prepare_trunk.py", str(tmp_path), str(tmp_path / "out")])
    import_script("experiments/pocket", "prepare_trunk").main()
    rows = [row for split in ("train", "val") for row in read_annotations(tmp_path / "out" / "anns" / f"{split}.json")]
    assert {row.target for row in rows if not row.absent} == {"liver"}
    assert {"lungs", "spleen"} <= {row.target for row in rows if row.absent}
    for row in rows:
        outline = np.asarray(Image.open(tmp_path / "out" / "masks" / row.mask_name))
        assert row.prompts == {"p1": row.target}
        assert outline.any() != row.absent


def test_a_slice_of_mr_tells_what_it_shows_and_lacks_without_outlines(scans, tmp_path):
    image = nib.Nifti1Image(np.random.default_rng(0).uniform(0, 900, (24, 24, 3)).astype(np.float32), np.eye(4) * 9)
    (tmp_path / "series").mkdir()
    nib.save(image, tmp_path / "series" / "head.nii.gz")
    head = {"stations": {"head": [[0, 2]]}, "organs": {"brain": [[1, 2]]}, "uncertain": {"brain": [[0, 0]]}}
    row = {"file": "head.nii.gz", "patient": "a", "modality": "MR", "plane": "axial", **head}
    low, middle, _ = scans.see_mr(tmp_path, row)
    assert (low.shown, middle.shown) == ((), ("brain",))
    assert "brain" not in low.targets.keys() | middle.targets.keys()
    assert {"lungs", "liver", "kidney"} <= middle.targets.keys()
    assert set(middle.targets.values()) == {None}


def test_a_head_is_painted_in_five_ways_and_not_where_its_brain_is_in_pieces(import_script):
    sequences = import_script("experiments/pocket", "prepare_sequences")
    brain = disc(0, 0, 0.5)
    grey = np.where(brain, 0.7, np.where(disc(0, 0, 0.7), 0.3, 0)).astype(np.float32)
    painted = dict(sequences.repaint(("a", grey, {"brain": brain})))
    assert [name.removesuffix(".png") for name in painted] == ["a_t2", "a_flair", "a_dwi", "a_adc", "a_chance"]
    assert len({round(float(shades[brain].mean()), 3) for shades in painted.values()}) == 5
    again = dict(sequences.repaint(("a", grey, {"brain": brain})))
    assert all(np.array_equal(painted[name], again[name]) for name in painted)
    pieces = disc(-0.5, -0.5, 0.3) | disc(0.5, 0.5, 0.3)
    assert not list(sequences.repaint(("b", grey, {"brain": pieces})))


def round_of(row: float, column: float, radius: float) -> np.ndarray:
    """As large as the recipe's pictures."""
    return disc(row, column, radius, 320)


def test_heads_are_written_without_their_skulls_too_and_bare_ones_are_brain_where_they_are_not_black(
    import_script, tmp_path
):
    sequences = import_script("experiments/pocket", "prepare_sequences")
    brain = round_of(0, 0, 0.5)
    grey = np.where(brain, 0.7, np.where(round_of(0, 0, 0.7), 0.3, 0)).astype(np.float32)
    rows = [*sequences.write(iter([("a", grey, {"brain": brain, "skull": round_of(0, 0, 0.7) & ~brain})]), tmp_path)]
    (bare,) = {row.img_name for row in rows if row.img_name.startswith("stripped_")}
    assert {row.target: row.absent for row in rows if row.img_name == bare} == {"brain": False, "skull": True}
    assert not np.asarray(Image.open(tmp_path / "images" / bare))[~round_of(0, 0, 0.52)].any()
    root = tmp_path / "targets" / sequences.STRIPPED
    write_head(root)
    Image.fromarray((255 * grey * brain).astype(np.uint8)).save(root / "images" / "a.png")
    records = [{"img_name": "a.png", "mask_name": "a.png", "prompts": {}, "target": "brain tumour"}]
    (root / "anns").mkdir()
    (root / "anns" / "train.json").write_text(json.dumps(records))
    ((_, _, outlines),) = sequences.read_stripped(tmp_path, "train")
    assert (outlines["brain"] != brain).mean() < 0.01


@pytest.fixture(scope="module")
def abdomens(import_script):
    return import_script("experiments/pocket", "prepare_abdomens")


def test_organs_keep_their_place_and_get_the_shades_of_a_sequence(abdomens):
    body, liver, spine = round_of(0, 0, 0.9), round_of(0, -0.4, 0.3), round_of(0.6, 0, 0.1)
    grey = np.select([liver, spine, body], [0.5, 1.0, 0.2], 0).astype(np.float32)
    painted = abdomens.paint(grey, {"liver": liver}, abdomens.SEQUENCES["t1"], np.random.default_rng(0))
    inside, fat = round_of(0, -0.4, 0.25), round_of(0, 0.4, 0.2)
    assert painted[fat].mean() > painted[inside].mean() > 0.2, "fat is bright on T1, the liver between"
    assert painted[~round_of(0, 0, 0.97)].max() < 0.15
    other = abdomens.paint(grey, {"liver": liver}, abdomens.SEQUENCES["t2_fat_suppressed"], np.random.default_rng(0))
    assert other[fat].mean() < other[inside].mean()


def test_black_between_organs_is_fat_and_a_wide_black_place_air(abdomens):
    body, liver = round_of(0, 0, 0.9) & ~round_of(0, 0, 0.86), round_of(0, -0.6, 0.2)
    lung, spleen = round_of(0, 0.35, 0.35), round_of(0, -0.2, 0.12)
    grey = np.where(liver | spleen | body, 0.5, 0).astype(np.float32)
    grey[~lung & round_of(0, 0.35, 0.45)] = 0.5
    found = abdomens.find_body(grey)
    assert found[lung].all()
    air = abdomens.find_air(grey, {}, found)
    assert air[round_of(0, 0.35, 0.25)].all()
    assert not air[round_of(0, -0.38, 0.03)].any()


def test_polygons_are_outlines_and_none_that_nothing_is_there(abdomens):
    square = abdomens.join([[(10, 10), (20, 10), (20, 20), (10, 20)], [(50, 50), (60, 50), (60, 60), (50, 60)]])
    assert square.mean() == pytest.approx(0.02, rel=0.1)
    assert abdomens.join([]) is None


def test_every_outline_lies_within_its_picture_and_names_a_target(abdomens):
    table = tomllib.loads(abdomens.OUTLINES.read_text(encoding="utf-8"))
    assert table
    targets = {target: pieces for pictures in table.values() for each in pictures.values()
               for target, pieces in each.items()}  # fmt: skip
    assert targets.keys() == {"liver", "spleen", "kidney", "stomach"}
    for pictures in table.values():
        for name, outlines in pictures.items():
            for points in (points for pieces in outlines.values() for points in pieces):
                assert len(points) >= 4, name
                assert all(0 <= value <= 100 for point in points for value in point), name
