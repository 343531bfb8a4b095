import json
import shutil
import warnings

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from pydicom.data import get_testdata_file
from tiny_originals import all_rows, blob, read_rows, save_mask, save_picture, save_volume

from vesalius.data.annotations import read_target
from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.prepare import CustomConfig, PreparePlan, SliceConfig, SplitConfig, find_custom, prepare
from vesalius.data.views import PromptMix, TrainingView
from vesalius.errors import ConfigError, DataError
from vesalius.imaging import read_image, read_mask
from vesalius.imaging.nifti import write_mask_volume


@pytest.fixture
def run(tmp_path):
    def run(slices=None, **options):
        found, source = find_custom(CustomConfig(**options), slices)
        return prepare(found, source, tmp_path / "dest", PreparePlan("custom", SplitConfig(0.25, 0.25)))

    return run


@pytest.fixture
def folders(tmp_path):
    """Three patients with four pictures each."""
    for number in range(12):
        save_picture(tmp_path / f"images/p{number // 4}_{number % 4}.png", number)
        save_mask(tmp_path / f"masks/p{number // 4}_{number % 4}_mask.png", blob(number))
    return {"images": tmp_path / "images", "masks": tmp_path / "masks"}


class TestFolders:
    def test_pairs_are_found_by_name(self, run, folders):
        report = run(**folders, phrase="Lesion")
        assert sum(report.records.values()) == 12
        assert report.problems == ()
        row = read_rows(report.dest, "train")[0]
        assert row["prompts"] == {"p0": "", "p1": "Lesion"}
        assert row["img_name"] == row["mask_name"]

    def test_images_that_differ_in_their_suffix_alone_are_left_out_and_told(self, folders):
        save_picture(folders["images"] / "p0_1.jpg", 1)
        save_picture(folders["images"] / "deeper/p0_2.png", 2)
        found, _ = find_custom(CustomConfig(**folders, phrase="lesion"))
        assert len(found.samples) == 11
        assert "p0_1" not in {sample.stem for sample in found.samples}
        told = {problem.place.rsplit("/", 1)[1]: problem.message for problem in found.problems}
        assert told.keys() == {"p0_1.png", "p0_1.jpg", "p0_1_mask.png", "p0_2.png"}
        assert "p0_1.jpg is called 'p0_1', too" in told["p0_1.png"]
        assert "2 images are called 'p0_1'" in told["p0_1_mask.png"]

    def test_two_images_that_a_mask_may_belong_to_are_told(self, folders):
        for name in ("a_image", "a_0000"):
            save_picture(folders["images"] / f"{name}.png", 1)
        save_mask(folders["masks"] / "a.png", blob(1))
        found, _ = find_custom(CustomConfig(**folders, phrase="lesion"))
        assert (len(found.samples), len(found.problems)) == (12, 3)

    def test_names_with_dots_stay_apart(self, folders):
        for number in (1, 2):
            save_picture(folders["images"] / f"1.2.{number}.png", number)
            save_mask(folders["masks"] / f"1.2.{number}.png", blob(number))
        found, _ = find_custom(CustomConfig(**folders, phrase="lesion"))
        assert {"1.2.1", "1.2.2"} <= {sample.stem for sample in found.samples}

    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("a.png", "a.png"),
            ("a.jpg", "a.png"),
            ("a.tif", "a_Segmentation.png"),
            ("a.png", "a-gt.bmp"),
            ("a.png", "a_mask_2.png"),
            ("a_0000.png", "a.png"),
            ("a_image.png", "a_label.png"),
            ("one/a.png", "one/a mask.png"),
            ("a_mask.png", "a_mask.png"),
        ],
    )
    def test_suffixes_of_names_do_not_matter(self, run, tmp_path, image, mask):
        save_picture(tmp_path / "images" / image)
        save_mask(tmp_path / "masks" / mask, blob(1))
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", phrase="polyp")
        (row,) = all_rows(report.dest)
        np.testing.assert_array_equal(read_mask(report.dest / "masks" / row["mask_name"]), blob(1))

    def test_several_masks_of_an_image_are_united(self, run, tmp_path):
        save_picture(tmp_path / "images/a.png")
        for number in (1, 2):
            save_mask(tmp_path / f"masks/a_mask_{number}.png", blob(number))
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", phrase="polyp")
        np.testing.assert_array_equal(read_mask(report.dest / "masks/a.png"), blob(1) | blob(2))

    def test_halves_of_pairs_are_named(self, run, folders):
        (folders["images"] / "p0_0.png").unlink()
        (folders["masks"] / "p1_1_mask.png").unlink()
        report = run(**folders, phrase="polyp")
        told = [str(problem) for problem in report.problems]
        assert any("p0_0_mask.png: has no image; expected 'p0_0' with any suffix" in each for each in told)
        assert any("p1_1.png: has no mask" in each for each in told)
        assert sum(report.records.values()) == 10

    def test_patients_do_not_cross_splits(self, run, folders):
        report = run(**folders, phrase="polyp", group_regex=r"/(p\d+)_")
        homes = {(row["img_name"][:2], split) for split in report.records for row in read_rows(report.dest, split)}
        assert len(homes) == 3

    def test_pictures_without_a_patient_are_told(self, run, folders):
        report = run(**folders, phrase="polyp", group_regex=r"(p[01])_")
        assert sum("finds no patient" in note.message for note in report.notes) == 4

    def test_empty_masks_are_shared_out(self, run, tmp_path):
        for number in range(40):
            save_picture(tmp_path / f"images/{number}.png", number)
            save_mask(tmp_path / f"masks/{number}.png", blob(number if number % 4 else -1))
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", phrase="polyp")
        assert report.empty == 10
        for split, count in {"train": 5, "val": 3, "test": 2}.items():
            masks = [read_mask(report.dest / "masks" / row["mask_name"]) for row in read_rows(report.dest, split)]
            assert sum(not mask.any() for mask in masks) == pytest.approx(count, abs=1)

    def test_label_maps_give_a_record_for_each_label(self, run, tmp_path):
        save_picture(tmp_path / "images/a.png")
        save_mask(tmp_path / "masks/a.png", np.where(blob(1)[::-1, ::-1], 2, blob(1) * 1))
        (tmp_path / "labels.json").write_text('{"background": 0, "kidney_left": 1, "kidney_right": 2, "spleen": 3}')
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", labels=tmp_path / "labels.json")
        rows = {row["mask_name"]: row["prompts"]["p1"] for row in all_rows(report.dest)}
        assert rows == {"kidney_left/a.png": "left kidney", "kidney_right/a.png": "right kidney"}

    def test_unknown_labels_are_named_and_the_known_ones_stay(self, run, tmp_path):
        save_picture(tmp_path / "images/a.png")
        values = blob(0) * 1
        values[19] = 7
        save_mask(tmp_path / "masks/a.png", values)
        (tmp_path / "labels.json").write_text('{"1": "liver"}')
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", labels=tmp_path / "labels.json")
        assert "masks/a.png: unknown label 7; known are 1 liver." in str(report.problems[0])
        assert [row["mask_name"] for row in all_rows(report.dest)] == ["liver/a.png"]


class TestTable:
    def write(self, tmp_path, header, *rows):
        for number in range(4):
            save_picture(tmp_path / f"i/{number}.png", number)
            save_mask(tmp_path / f"m/{number}.png", blob(number))
        (tmp_path / "table.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
        return tmp_path / "table.csv"

    def test_columns_say_patient_split_class_and_prompts(self, run, tmp_path):
        table = self.write(
            tmp_path,
            "Image;mask;patient;split;class;prompts",
            "i/0.png;m/0.png;a;train;Benign;",
            "i/1.png;m/1.png;a;training;Benign;one round lesion",
            'i/2.png;m/2.png;b;validation;Malignant;"{""p1"": ""x"", ""p2"": [""y"", ""z""]}"',
            "i/3.png;m/3.png;c;test;Malignant;",
        )
        report = run(table=table)
        assert report.records == {"train": 2, "val": 1, "test": 1}
        first, second = read_rows(report.dest, "train")
        names = {"img_name": "i/0.png", "mask_name": "m/0.png"}
        assert first == names | {"target": "benign", "prompts": {"p0": "", "p1": "benign"}}
        assert read_target(report.dest) == ""  # two classes: every record says its own
        assert second["prompts"] == {"p0": "", "p1": "one round lesion"}
        assert read_rows(report.dest, "val")[0]["prompts"] == {"p1": "x", "p2": ["y", "z"]}

    def test_an_image_of_two_patients_is_refused(self, run, tmp_path):
        table = self.write(tmp_path, "image,mask,patient", "i/0.png,m/0.png,a", "i/0.png,m/1.png,b")
        with pytest.raises(DataError, match=r"0\.png belongs to 'a' and 'b'; name one patient"):
            run(table=table, phrase="polyp")

    def test_images_without_a_patient_are_told(self, run, tmp_path):
        table = self.write(tmp_path, "image,mask,patient", "i/0.png,m/0.png,a", "i/1.png,m/1.png,")
        found, _ = find_custom(CustomConfig(table=table, phrase="polyp"))
        assert [str(each) for each in found.leaks if "1.png" in str(each)]

    def test_parquet_reads_alike(self, run, tmp_path):
        self.write(tmp_path, "")
        names = [f"{number}.png" for number in range(4)]
        prompts = [{"p1": ["a", "b"], "p2": None}] * 4
        columns = {"image": names, "mask": names, "split": ["train", None, "val", "test"], "prompts": prompts}
        parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
        report = run(table=tmp_path / "table.parquet", images=tmp_path / "i", masks=tmp_path / "m")
        assert report.records == {"train": 2, "val": 1, "test": 1}
        assert all_rows(report.dest)[0]["prompts"] == {"p1": ["a", "b"]}

    def test_an_image_may_have_several_rows_which_stay_together(self, run, tmp_path):
        rows = [f"i/0.png,m/{number}.png,c{number}" for number in range(4)]
        report = run(table=self.write(tmp_path, "image,mask,class", *rows))
        assert sorted(report.records.values()) == [0, 0, 4]
        assert report.images == 1

    def test_rows_that_are_wrong_are_named_by_number(self, run, tmp_path):
        table = self.write(
            tmp_path,
            "image,mask,split",
            "i/0.png,m/0.png,train",
            "i/9.png,m/1.png,train",
            "i/1.png,,train",
            "i/2.png,m/2.png,trian",
            "i/3.png,m/0.png,val",
        )
        report = run(table=table, phrase="polyp")
        told = [str(problem) for problem in report.problems]
        assert "table.csv, row 2: " in told[0]
        assert "i/9.png: no such image file" in told[0]
        assert told[1].endswith("table.csv, row 3: has no mask.")
        assert told[2].endswith("row 4: unknown split 'trian'; expected train, val, test.")
        assert "row 5: 'm/0' is the name of another row's mask" in told[3]
        assert sum(report.records.values()) == 1

    def test_a_patient_in_two_splits_is_refused(self, run, tmp_path):
        rows = ("i/0.png,m/0.png,train,7", "i/1.png,m/1.png,test,7")
        with pytest.raises(DataError, match="Group '7' crosses splits: 'm/0' is in train and 'm/1' in test"):
            run(table=self.write(tmp_path, "image,mask,split,patient", *rows), phrase="polyp")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", "picture,mask\na,b", r"has no column 'image'; its columns are picture, mask"),
            ("t.csv", "image,mask\n", "has no rows"),
            ("t.csv", None, "no such table"),
            ("t.parquet", "no parquet", "cannot be read as Parquet"),
        ],
    )
    def test_tables_of_another_kind_are_refused(self, run, tmp_path, name, content, message):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=message):
            run(table=tmp_path / name, phrase="polyp")


class TestVolumes:
    @pytest.fixture
    def volumes(self, tmp_path):
        rng = np.random.default_rng(0)
        labels = np.zeros((12, 14, 10), np.uint8)
        labels[2:6, 3:11, 4:8], labels[7:10, 3:11, 4:8] = 1, 2
        for name in ("p1", "p2"):
            save_volume(tmp_path / f"images/{name}.nii.gz", rng.random(labels.shape).astype(np.float32), (1, 1, 2))
            save_volume(tmp_path / f"masks/{name}_seg.nii.gz", labels, (1, 1, 2))
        (tmp_path / "labels.json").write_text('{"labels": {"liver": 1, "spleen": 2}}')
        return {"images": tmp_path / "images", "masks": tmp_path / "masks", "labels": tmp_path / "labels.json"}

    def test_slices_of_named_structures(self, run, volumes):
        report = run(SliceConfig(every=2, smallest=5), **volumes)
        rows = {row["mask_name"]: row for row in all_rows(report.dest)}
        expected = {f"{s}/{p}_axial_{n:04d}.png" for s in ("liver", "spleen") for p in ("p1", "p2") for n in (4, 6)}
        assert rows.keys() == expected
        assert rows["liver/p1_axial_0004.png"]["img_name"] == "p1_axial_0004.png"
        assert sum(count > 0 for count in report.records.values()) == 2  # a patient stays in one split

    def test_pixels_become_square_in_other_planes(self, run, volumes):
        report = run(SliceConfig(plane="coronal", every=7, smallest=5, structures=("liver",)), **volumes)
        (row, *_) = all_rows(report.dest)
        assert row["mask_name"] == "liver/p1_coronal_0007.png"
        assert read_mask(report.dest / "masks" / row["mask_name"]).shape == (20, 12)
        assert read_image(report.dest / "images" / row["img_name"]).pixels.shape == (1, 20, 12)

    def test_a_plain_mask_volume_outlines_the_phrase(self, run, volumes):
        volumes.pop("labels")
        report = run(SliceConfig(every=5, smallest=5), **volumes, phrase="tumour in the left lobe", threshold=0)
        (row, *_) = all_rows(report.dest)
        assert row["prompts"]["p1"] == "tumour in the left lobe"
        assert row["mask_name"].startswith("tumour_in_the_left_lobe/p1_axial")

    def test_volumes_of_several_values_are_asked_about(self, run, volumes):
        volumes.pop("labels")
        with pytest.raises(DataError, match=r"p1_seg\.nii\.gz: holds the values 0, 1, 2, .*--threshold N"):
            run(SliceConfig(every=5, smallest=5), **volumes, phrase="liver")
        report = run(SliceConfig(every=5, smallest=5), **volumes, phrase="liver", threshold=1.5)
        outlined = read_mask(report.dest / "masks" / all_rows(report.dest)[0]["mask_name"])
        assert outlined.sum() == 3 * 8

    def test_masks_that_lie_elsewhere_are_named(self, run, volumes, tmp_path):
        ones = np.ones((12, 14, 10), np.uint8)
        save_volume(tmp_path / "masks/p1_seg.nii.gz", ones[:, :, :8], (1, 1, 2))
        save_volume(tmp_path / "masks/p2_seg.nii.gz", ones, (1, 1, 3))
        with pytest.raises(DataError, match=r"nothing of it .*p1_seg.*expected the image's \[10, 14, 12\]"):
            run(**volumes)
        save_volume(tmp_path / "masks/p1_seg.nii.gz", ones, (1, 1, 2))
        assert "p2_seg.nii.gz: lies elsewhere in the patient" in str(run(**volumes).problems[0])

    def test_a_dicom_series_with_a_label_map(self, run, tmp_path):
        (tmp_path / "images/p1").mkdir(parents=True)
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / "images/p1/slice")
        image = read_image(tmp_path / "images/p1")
        mask = np.zeros(image.pixels.shape, bool)
        mask[:, 30:60, 40:90] = True
        stored, affine = image.to_source_grid(mask)
        write_mask_volume(tmp_path / "masks/p1.nii.gz", stored.transpose(2, 1, 0), stored.shape, affine)
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", phrase="thing")
        (row,) = all_rows(report.dest)
        assert row["img_name"] == "p1_axial_0000.png"
        np.testing.assert_array_equal(read_mask(report.dest / "masks" / row["mask_name"]), mask[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --images DIR and --masks DIR, or --table FILE"),
        ({"group_regex": "("}, r"--group-regex: '\(' is no regular expression"),
    ],
)
def test_what_is_lacking_is_said(run, options, message):
    with pytest.raises(ConfigError, match=message):
        run(**options)


def test_without_a_phrase_it_is_said_where_one_could_come_from(run, folders):
    with pytest.raises(ConfigError, match="nothing says what its mask outlines; give --phrase polyp, --labels FILE"):
        run(**folders)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"'images': \[.*\] is no pair of a number"),
        ('{"1": "liver", "01": "spleen"}', "1 is both 'liver' and 'spleen'"),
        ('{"HER2+": 1, "HER2": 2}', r"'HER2\+' and 'HER2' would both be written as 'her2'"),
        ("[]", "expected an object of numbers and names"),
        ("{", "is not JSON"),
    ],
)
def test_label_files_of_another_kind_are_refused(run, folders, tmp_path, content, message):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match=message):
        run(**folders, labels=tmp_path / "labels.json")


def test_of_several_label_maps_none_is_taken_for_all(folders):
    (folders["masks"] / "p0_1_mask.png").rename(folders["masks"] / "p0_1_mask_1.png")
    save_mask(folders["masks"] / "p0_1_mask_2.png", blob(2))
    (folders["images"].parent / "labels.json").write_text('{"255": "lesion"}')
    found, _ = find_custom(CustomConfig(**folders, labels=folders["images"].parent / "labels.json"))
    assert len(found.samples) == 11
    assert "2 label maps (p0_1_mask_1.png, p0_1_mask_2.png)" in str(found.problems[0])


def test_images_of_one_name_are_not_mixed_up(run, tmp_path):
    for suffix in ("png", "jpg"):
        save_picture(tmp_path / f"images/a.{suffix}")
        save_mask(tmp_path / f"masks/a_{suffix}.png", blob(1))
    lines = ["image,mask", "images/a.png,masks/a_png.png", "images/a.jpg,masks/a_jpg.png"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    report = run(table=tmp_path / "table.csv", phrase="polyp")
    assert "images/a.jpg: is left out; its name is that of" in str(report.problems[0])
    assert json.loads((report.dest / "prepare.json").read_text())["images"] == 1


class TestMaskValues:
    """What is inside, where nothing but the values of a mask says it."""

    def prepare(self, run, tmp_path, levels, **options):
        save_picture(tmp_path / "images/a.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(levels).save(tmp_path / "masks/a.png")
        images, masks = tmp_path / "images", tmp_path / "masks"
        report = run(images=images, masks=masks, phrase="polyp", **options)
        return report, read_mask(report.dest / "masks/a.png")

    @pytest.mark.parametrize(
        ("white", "dtype"), [(1, np.uint8), (2, np.uint8), (100, np.uint8), (255, np.uint8), (255, np.uint16),
                             (1, np.uint16), (65535, np.uint16)]
    )  # fmt: skip
    def test_of_two_values_the_one_above_zero_is_inside(self, run, tmp_path, white, dtype):
        report, mask = self.prepare(run, tmp_path, blob(3).astype(dtype) * dtype(white))
        assert report.empty == 0
        assert np.array_equal(mask, blob(3))

    @pytest.mark.parametrize(("outside", "inside"), [((255, 255, 255), (255, 0, 0)), ((0, 0, 255), (255, 255, 0))])
    def test_of_two_colours_one_has_to_be_black(self, run, tmp_path, outside, inside):
        colours = np.array([outside, inside], np.uint8)
        with pytest.raises(DataError, match=r"masks/a\.png: has two colours, .* one has to be black"):
            self.prepare(run, tmp_path, colours[blob(3).astype(int)])
        black = np.array([(0, 0, 0), inside], np.uint8)
        assert np.array_equal(self.prepare(run, tmp_path, black[blob(3).astype(int)])[1], blob(3))

    def test_zero_alone_is_empty(self, run, tmp_path):
        report, mask = self.prepare(run, tmp_path, np.zeros((20, 24), np.uint8))
        assert (report.empty, mask.any()) == (1, False)

    @pytest.mark.parametrize(("level", "share"), [(3, 1), (100, 1), (0, 0)])
    def test_one_value_is_read_alike_before_and_after(self, run, tmp_path, level, share):
        _, mask = self.prepare(run, tmp_path, np.full((20, 24), level, np.uint8))
        assert mask.mean() == read_mask(tmp_path / "masks/a.png").mean() == share

    def test_what_jpeg_leaves_of_black_and_white_is_parted_at_half(self, run, tmp_path):
        levels = blob(3).astype(np.uint8) * 240 + 5
        levels[0, 0] = 20
        assert np.array_equal(self.prepare(run, tmp_path, levels)[1], blob(3))

    @pytest.mark.parametrize("values", [(0, 1, 2), (0, 50, 100), (1, 2), (0, 60, 128)])
    def test_of_more_values_the_user_is_asked(self, run, tmp_path, values):
        levels = np.resize(np.array(values, np.uint8), (20, 24))
        told = ", ".join(map(str, values))
        with pytest.raises(DataError, match=rf"masks/a\.png: holds the values {told}, where .*--threshold N.*--labels"):
            self.prepare(run, tmp_path, levels)
        assert np.array_equal(self.prepare(run, tmp_path, levels, threshold=values[-2])[1], levels == values[-1])

    @pytest.mark.parametrize("turned", ["image", "mask"])
    def test_a_turn_by_exif_that_explains_a_size_is_named(self, run, tmp_path, turned):
        exif = Image.Exif()
        exif[0x0112] = 6
        for kind, picture in (("image", save_picture), ("mask", lambda path: save_mask(path, blob(1)))):
            path = picture(tmp_path / f"{kind}s/a.jpg")
            with Image.open(path) as plain:
                plain.copy().save(path, exif=exif if kind == turned else Image.Exif())
        with pytest.raises(
            DataError, match=r"a mask of another size; .*; the EXIF orientation of a\.jpg \(6\) turns it"
        ):
            run(images=tmp_path / "images", masks=tmp_path / "masks", phrase="polyp")


class TestTarget:
    def test_it_is_told_once_and_kept_with_the_data(self, run, folders):
        dest = run(**folders, phrase="polyp").dest
        assert json.loads((dest / "dataset.json").read_text()) == {"target": "polyp"}
        dataset = SegmentationDataset(dest, "train")
        assert dataset.target == "polyp"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            TrainingView(dataset, 32, AugmentConfig(), PromptMix(paraphrases=0.5, absent=0.5))

    def test_labels_say_it_record_by_record(self, run, tmp_path):
        save_picture(tmp_path / "images/a.png")
        save_mask(tmp_path / "masks/a.png", np.where(blob(1), 1, np.where(blob(4), 2, 0)))
        (tmp_path / "labels.json").write_text('{"1": "liver", "2": "kidney_left"}')
        report = run(images=tmp_path / "images", masks=tmp_path / "masks", labels=tmp_path / "labels.json")
        assert {row["target"] for row in all_rows(report.dest)} == {"liver", "left kidney"}
        assert read_target(report.dest) == ""
