"""Every data set of the catalog, from a folder as its authors distribute it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_originals import SIZE, all_rows, blob, read_rows, save_mask, save_picture, save_volume, tree

from vesalius.data.catalog import read_catalog
from vesalius.data.prepare import SliceConfig
from vesalius.data.prepare.originals import decode_rle
from vesalius.errors import DataError
from vesalius.imaging import read_mask


def kvasir(root):
    for number in range(4):
        save_picture(root / f"Kvasir-SEG/images/cju{number}.jpg", number)
        save_mask(root / f"Kvasir-SEG/masks/cju{number}.jpg", blob(number), quality=90)
    return {f"cju{number}": (f"cju{number}.jpg", blob(number)) for number in range(4)}


def clinicdb(root):
    for number in range(1, 5):
        save_picture(root / f"CVC-ClinicDB/Original/{number}.tif", number)
        save_mask(root / f"CVC-ClinicDB/Ground Truth/{number}.tif", blob(number))
    return {str(number): (f"{number}.png", blob(number)) for number in range(1, 5)}


def clinicdb_kaggle(root):
    lines = ["frame_id,sequence_id,png_image_path"]
    for number in range(1, 5):
        for kind in ("PNG", "TIF"):
            suffix = "png" if kind == "PNG" else "tif"
            save_picture(root / f"{kind}/Original/{number}.{suffix}", number)
            save_mask(root / f"{kind}/Ground Truth/{number}.{suffix}", blob(number))
        lines.append(f"{number},{(number + 1) // 2},PNG/Original/{number}.png")
    (root / "metadata.csv").write_text("\n".join(lines))
    return {str(number): (f"{number}.png", blob(number)) for number in range(1, 5)}


def bkai(root):
    for number in range(4):
        save_picture(root / f"train/train/f{number}.jpeg", number)
        colours = np.zeros((*SIZE, 3), np.uint8)
        colours[blob(number)] = (255, 0, 0)
        colours[blob(number) & (np.arange(SIZE[1]) > 8)] = (0, 255, 0)
        save_mask(root / f"train_gt/train_gt/f{number}.jpeg", colours, quality=100, subsampling=0)
    save_picture(root / "test/test/unmasked.jpeg")
    return {f"f{number}": (f"f{number}.jpeg", blob(number)) for number in range(4)}


def busi(root):
    expected = {}
    for number, kind in enumerate(("benign", "malignant", "normal", "benign"), start=1):
        folder = root / f"Dataset_BUSI_with_GT/{kind}"
        save_picture(folder / f"{kind} ({number}).png", number)
        mask = blob(-1 if kind == "normal" else number)
        parts = (mask & (np.arange(SIZE[1]) < 8), mask & (np.arange(SIZE[1]) >= 8)) if number == 4 else (mask,)
        for index, part in enumerate(parts):
            save_mask(folder / f"{kind} ({number})_mask{f'_{index}' if index else ''}.png", part)
        expected[f"{number}_{kind}"] = (f"{number}_{kind}.png", mask)
    return expected


def isic(root):
    for number, part in enumerate(("Training", "Training", "Training", "Test")):
        save_picture(root / f"ISBI2016_ISIC_Part1_{part}_Data/ISIC_000000{number}.jpg", number)
        save_mask(root / f"ISBI2016_ISIC_Part1_{part}_GroundTruth/ISIC_000000{number}_Segmentation.png", blob(number))
    return {f"ISIC_000000{number}_Segmentation": (f"ISIC_000000{number}.jpg", blob(number)) for number in range(4)}


def dfu(root):
    for number in range(4):
        save_picture(root / f"DFUC2022_train_release/DFUC2022_train_images/10000{number}.jpg", number)
        save_mask(root / f"DFUC2022_train_release/DFUC2022_train_masks/10000{number}.png", blob(number))
    return {f"10000{number}": (f"10000{number}.jpg", blob(number)) for number in range(4)}


def camus(root):
    expected = {}
    for number in range(1, 5):
        name = f"patient000{number}"
        labels = blob(number) * 1 + blob(number)[::-1, ::-1] * 2
        # Rows downwards and columns to the right are the second and the first axis of a file without rotation.
        save_volume(root / f"database_nifti/{name}/{name}_2CH_ED.nii.gz", blob(number).T * 200.0, (-1, -1, 1))
        save_volume(root / f"database_nifti/{name}/{name}_2CH_ED_gt.nii.gz", labels.T.astype(np.uint8), (-1, -1, 1))
        for label in (1, 2, 3):
            if (labels == label).any():
                expected[f"mask_{label}/{name}_2CH_ED_gt"] = (f"{name}_2CH_ED.png", labels == label)
    (root / "database_split").mkdir()
    for split, numbers in {"training": (1, 2), "validation": (3,), "testing": (4,)}.items():
        lines = "\n".join(f"patient000{number}" for number in numbers)
        (root / f"database_split/subgroup_{split}.txt").write_text(lines)
    return expected


def polyps_of(name, count=4, suffix="png"):
    def arrange(root):
        for number in range(1, count + 1):
            save_picture(root / f"TestDataset/{name}/images/{number}.{suffix}", number)
            save_mask(root / f"TestDataset/{name}/masks/{number}.{suffix}", blob(number))
            save_picture(root / f"TestDataset/Other/images/{number}.{suffix}", 9)
            save_mask(root / f"TestDataset/Other/masks/{number}.{suffix}", blob(9))
        return {str(number): (f"{number}.{suffix}", blob(number)) for number in range(1, count + 1)}

    return arrange


def etis(root):
    for number in range(1, 5):
        save_picture(root / f"ETIS-LaribPolypDB/ETIS-LaribPolypDB/{number}.tif", number)
        save_mask(root / f"ETIS-LaribPolypDB/Ground Truth/p{number}.tif", blob(number))
    return {str(number): (f"{number}.png", blob(number)) for number in range(1, 5)}


def lungs(root):
    expected = {}
    for number in range(1, 5):
        name = f"CHNCXR_000{number}_0"
        save_picture(root / f"ChinaSet_AllFiles/CXR_png/{name}.png", number)
        save_mask(root / f"mask/{name}_mask.png", blob(number))
        expected[name] = (f"{name}.png", blob(number))
    left, right = blob(1), blob(1)[:, ::-1]
    save_picture(root / "MontgomerySet/CXR_png/MCUCXR_0001_0.png", 7)
    save_mask(root / "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png", left)
    save_mask(root / "MontgomerySet/ManualMask/rightMask/MCUCXR_0001_0.png", right)
    return {**expected, "MCUCXR_0001_0": ("MCUCXR_0001_0.png", left | right)}


ARRANGED = {
    "kvasir_polyp": kvasir,
    "clinicdb_polyp": clinicdb,
    "bkai_polyp": bkai,
    "busi": busi,
    "isic": isic,
    "dfu": dfu,
    "camus": camus,
    "colondb_polyp": polyps_of("CVC-ColonDB"),
    "etis_polyp": etis,
    "cvc300_polyp": polyps_of("CVC-300"),
    "cxr_lungs": lungs,
}
ELSEWHERE = {"chexlocalize", "totalsegmentator_ct", "totalsegmentator_mr"}


def test_every_data_set_that_can_be_prepared_is_tried():
    assert ARRANGED.keys() | ELSEWHERE == {name for name, card in read_catalog().items() if card.files}


@pytest.mark.parametrize("name", ARRANGED)
def test_names_and_masks_are_what_the_catalog_says(name, prepare_original, tmp_path):
    expected = ARRANGED[name](tmp_path / "original")
    report = prepare_original(name, tmp_path / "original")
    rows = {row["mask_name"].removesuffix(".png"): row for row in all_rows(report.dest)}
    assert rows.keys() == expected.keys()
    assert report.problems == ()
    for stem, (image, mask) in expected.items():
        assert rows[stem]["img_name"] == image
        np.testing.assert_array_equal(read_mask(report.dest / "masks" / f"{stem}.png"), mask)
        assert rows[stem]["prompts"]["p0"] == ""
        assert rows[stem]["prompts"]["p1"]
        assert (report.dest / "images" / image).is_file()


def test_pictures_keep_their_bytes_and_tiff_becomes_png_without_loss(prepare_original, tmp_path):
    clinicdb(tmp_path / "cvc")
    report = prepare_original("clinicdb_polyp", tmp_path / "cvc")
    stored = np.asarray(Image.open(tmp_path / "cvc/CVC-ClinicDB/Original/1.tif"))
    np.testing.assert_array_equal(np.asarray(Image.open(report.dest / "images/1.png")), stored)
    kvasir(tmp_path / "kvasir")
    report = prepare_original("kvasir_polyp", tmp_path / "kvasir", tmp_path / "other")
    name = "images/cju1.jpg"
    assert (report.dest / name).read_bytes() == (tmp_path / "kvasir/Kvasir-SEG" / name).read_bytes()


def test_frames_of_a_video_stay_together_where_the_table_tells(prepare_original, tmp_path):
    clinicdb_kaggle(tmp_path / "cvc")
    report = prepare_original("clinicdb_polyp", tmp_path / "cvc")
    assert report.notes == () or all("no record" in note.message for note in report.notes)
    homes = {row["img_name"]: split for split in report.records for row in read_rows(report.dest, split)}
    assert homes["1.png"] == homes["2.png"]
    assert homes["3.png"] == homes["4.png"]


def test_without_the_table_it_is_said_that_videos_may_cross_splits(prepare_original, tmp_path):
    clinicdb(tmp_path / "cvc")
    notes = [note.message for note in prepare_original("clinicdb_polyp", tmp_path / "cvc").notes]
    assert any("metadata.csv" in note and "different splits" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("isic", {"ISIC_0000003.jpg"}),
        ("cxr_lungs", {"MCUCXR_0001_0.png"}),
        ("camus", {"patient0004_2CH_ED.png"}),
        ("cvc300_polyp", {"1.png", "2.png", "3.png", "4.png"}),
    ],
)
def test_what_the_authors_set_aside_is_tested_on(name, test, prepare_original, tmp_path):
    ARRANGED[name](tmp_path / "original")
    report = prepare_original(name, tmp_path / "original")
    assert {row["img_name"] for row in read_rows(report.dest, "test")} == test


def test_an_archive_gives_what_its_folder_gives(prepare_original, tmp_path):

    busi(tmp_path / "original")
    shutil.make_archive(str(tmp_path / "archive/busi"), "zip", tmp_path / "original")
    unpacked = prepare_original("busi", tmp_path / "original", tmp_path / "one")
    packed = prepare_original("busi", tmp_path / "archive/busi.zip", tmp_path / "two")
    inside = prepare_original("busi", tmp_path / "archive", tmp_path / "three")
    trees = [tree(report.dest) for report in (unpacked, packed, inside)]
    summaries = [json.loads(each.pop("prepare.json")) for each in trees]
    for each in trees:
        each.pop("made.json")  # names the source
    assert trees[0] == trees[1] == trees[2]
    assert len({json.dumps(each | {"source": ""}) for each in summaries}) == 1


@pytest.mark.filterwarnings("ignore::vesalius.errors.ImageNotice")  # units of CT are guessed
@pytest.mark.parametrize(("name", "file"), [("totalsegmentator_ct", "ct"), ("totalsegmentator_mr", "mri")])
def test_volumes_are_cut_into_slices_of_structures(name, file, prepare_original, tmp_path):
    values = np.arange(12 * 14 * 10).reshape(12, 14, 10).astype(np.int16) - (1024 if file == "ct" else 0)
    mask = np.zeros(values.shape, np.uint8)
    mask[2:9, 3:11, 4:8] = 1
    for subject in ("s0001", "s0002", "s0003"):
        save_volume(tmp_path / f"ts/{subject}/{file}.nii.gz", values)
        for structure, volume in {"liver": mask, "spleen": mask * 0, "rib_left_1": mask}.items():
            save_volume(tmp_path / f"ts/{subject}/segmentations/{structure}.nii.gz", volume)
    (tmp_path / "ts/meta.csv").write_text("\ufeffimage_id;split\ns0001;train\ns0002;val\ns0003;test\n")
    report = prepare_original(name, tmp_path / "ts", slices=SliceConfig(every=2, smallest=10))
    assert report.records == {"train": 2, "val": 2, "test": 2}
    first, second = read_rows(report.dest, "val")
    assert first["img_name"] == "s0002_axial_0004.png"
    assert second["mask_name"] == "liver/s0002_axial_0006.png"
    assert first["prompts"] == {"p0": "", "p1": "liver"}
    # Right is left on screen, and front is up.
    expected = mask[::-1, ::-1, 4].T.astype(bool)
    np.testing.assert_array_equal(read_mask(report.dest / "masks" / first["mask_name"]), expected)


def test_structures_can_be_chosen_and_unknown_ones_are_refused(prepare_original, tmp_path):
    ones = np.ones((12, 14, 10), np.uint8)
    save_volume(tmp_path / "ts/s0001/ct.nii.gz", ones.astype(np.int16))
    for structure in ("liver", "rib_left_1"):
        save_volume(tmp_path / f"ts/s0001/segmentations/{structure}.nii.gz", ones)
    chosen = SliceConfig(every=10, structures=("rib_left_1",))
    report = prepare_original("totalsegmentator_ct", tmp_path / "ts", slices=chosen)
    assert [row["prompts"]["p1"] for row in all_rows(report.dest)] == ["left rib 1"]
    with pytest.raises(DataError, match=r"No structure named 'livr'\. Did you mean 'liver'\?"):
        prepare_original("totalsegmentator_ct", tmp_path / "ts", slices=SliceConfig(structures=("livr",)))


def test_another_layout_is_told_what_was_expected_and_what_is_there(prepare_original, tmp_path):
    kvasir(tmp_path / "original")
    with pytest.raises(DataError, match=r"no image of Breast Ultrasound.*expected Dataset_BUSI.*There is: 8 \.jpg"):
        prepare_original("busi", tmp_path / "original")
    assert not (tmp_path / "dest").exists()


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


def encode(mask: np.ndarray) -> str:
    """COCO's packed text, written from its description: the other way round than the decoder."""
    flat = mask.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        while True:
            low, number = number & 31, number >> 5
            done = number == (-1 if low & 16 else 0)
            text += chr(48 + low + (0 if done else 32))
            if done:
                break
    return text


@pytest.mark.parametrize("seed", range(5))
def test_what_was_packed_is_unpacked(seed):
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((37, 53)) < 0.3, rng.integers(1, 40), axis=0)
    np.testing.assert_array_equal(decode_rle(encode(mask), mask.shape), mask)


def test_an_empty_mask_is_one_run():
    # Of CheXlocalize: 2320 × 2828 pixels without a finding.
    assert not decode_rle("PVWX6", [2320, 2828]).any()


def test_plain_runs_go_down_the_columns():
    assert decode_rle([2, 3, 1], [3, 2]).astype(int).tolist() == [[0, 1], [0, 1], [1, 0]]
    assert decode_rle([0, 4], [2, 2]).all()


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ("PVWX6", [10, 10], "sum up to 6560960, expected 10 × 10 = 100"),
        ([5, -1], [2, 2], "sum up to 4"),
        ("ab cd", [2, 2], "which COCO's packed text cannot"),
        ("o" * 40, [2, 2], "which COCO's packed text cannot"),
        ([4], [2, 2, 1], "expected the size"),
        ([4], [10**6, 10**6], "expected the size"),
        ([], [2, 2], "sum up to 0"),
    ],
)
def test_runs_that_fill_no_picture_are_refused(counts, size, message):
    with pytest.raises(DataError, match=message):
        decode_rle(counts, size)
