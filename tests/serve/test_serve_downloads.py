import io
import json
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from serve_client import ask, half_bright, nifti, png, send


def correct(client, upload, content, name="mask.png", **fields):
    return client.post(
        f"/api/uploads/{upload['id']}/corrections",
        files=[("mask", (name, content))],
        data={"phrase": "liver", **fields},
    )


def unzip(answer) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def test_a_corrected_mask_becomes_training_data_that_the_check_accepts(client, tmp_path, run):
    mask = np.zeros((24, 32), np.uint8)
    mask[4:20, 10:30] = 255
    upload = send(client, png(half_bright()), "Jane Doe.png")
    files = unzip(correct(client, upload, png(mask)))
    for name, content in files.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (record,) = json.loads(files["anns/train.json"])
    assert record["prompts"] == {"p0": "", "p1": "liver"}
    assert record["target"] == "liver"
    assert "Doe" not in str(sorted(files))
    assert (np.asarray(Image.open(io.BytesIO(files[f"masks/{record['mask_name']}"]))) == mask).all()
    _, told, _ = run("data", "check", tmp_path / "set", "--jobs", "1", "--json")
    found = [each["kind"] for each in json.loads(told)["findings"]]
    assert set(found) == {"missing_split"}  # which are for the user to draw


def test_an_empty_mask_of_a_picture_says_that_the_object_is_absent(client):
    upload = send(client, png(half_bright()))
    (record,) = json.loads(unzip(correct(client, upload, png(np.zeros((24, 32), np.uint8))))["anns/train.json"])
    assert record["absent"] is True


@pytest.mark.parametrize("flip", [1, -1])
def test_of_a_volume_the_marked_slices_become_pictures_with_square_pixels(client, tmp_path, flip):
    values = np.full((10, 8, 6), 100, np.int16)
    values[:5, :, 4] = 1000
    affine = np.diag([-2.0, 4, 5 * flip, 1])
    upload = send(client, nifti(values, affine, tmp_path), "head.nii.gz")
    files = unzip(correct(client, upload, nifti((values > 500).astype(np.uint8), affine, tmp_path), "mask.nii.gz"))
    (record,) = json.loads(files["anns/train.json"])
    assert f"_{4 if flip > 0 else 1:04d}" in record["img_name"]
    image = np.asarray(Image.open(io.BytesIO(files[f"images/{record['img_name']}"])))[..., 0]
    mask = np.asarray(Image.open(io.BytesIO(files[f"masks/{record['mask_name']}"])))
    assert image.shape == mask.shape == (16, 10)
    assert ((image > 127) == (mask > 0)).mean() > 0.9


@pytest.mark.parametrize("codes", ["RPS", "LAI", "SAR", "PIL"])
def test_a_mask_saved_in_another_orientation_marks_the_same_voxels(client, tmp_path, codes):
    affine = np.array([[-2.0, 0.1, 0, 9], [0.1, -4, 0, 7], [0, 0, 5, -3], [0, 0, 0, 1]])  # LPS
    values = np.random.default_rng(0).integers(0, 900, (10, 8, 6)).astype(np.int16)
    upload = send(client, nifti(values, affine, tmp_path), "head.nii.gz")
    drawn = nib.Nifti1Image((values > 500).astype(np.uint8), affine)
    turned = drawn.as_reoriented(nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes)
    ))  # fmt: skip
    contents = [nifti(np.asarray(each.dataobj), each.affine, tmp_path) for each in (drawn, turned)]
    as_drawn, as_turned = (unzip(correct(client, upload, each, "mask.nii.gz")) for each in contents)
    assert len(as_drawn) == 13
    assert as_turned == as_drawn


@pytest.mark.parametrize("shift", [3.0, np.nan])
def test_a_mask_that_lies_elsewhere_than_its_volume_is_refused(client, tmp_path, shift):
    values, affine = np.ones((10, 8, 6), np.int16), np.diag([-2.0, 4, 5, 1])
    upload = send(client, nifti(values, affine, tmp_path), "head.nii.gz")
    moved = affine.copy()
    moved[0, 3] = shift
    answer = correct(client, upload, nifti(values, moved, tmp_path), "mask.nii.gz")
    assert answer.status_code == 422
    assert "lies elsewhere" in answer.text if shift == 3 else "places no volume" in answer.text


@pytest.mark.parametrize("unknown", [None, np.eye(4)], ids=["none", "identity"])
def test_a_mask_without_a_place_is_taken_as_it_is(client, tmp_path, unknown):
    values, affine = np.ones((10, 8, 6), np.int16), np.diag([-2.0, 4, 5, 1])
    upload = send(client, nifti(values, affine, tmp_path), "head.nii.gz")
    assert len(unzip(correct(client, upload, nifti(values, unknown, tmp_path), "mask.nii.gz"))) == 13


def test_a_slice_may_be_sent_as_a_picture(client, tmp_path):
    upload = send(client, nifti(np.full((10, 8, 6), 100, np.int16), np.diag([-2.0, 2, 5, 1]), tmp_path), "head.nii.gz")
    mask = png(np.full((8, 10), 255, np.uint8))
    assert correct(client, upload, mask).json()["error"]["where"] == "mask.png"
    (record,) = json.loads(unzip(correct(client, upload, mask, slice="3"))["anns/train.json"])
    assert "_0003" in record["img_name"]
    assert correct(client, upload, mask, slice="6").status_code == 422
    assert correct(client, upload, mask, slice="x").status_code == 422


def test_masks_that_do_not_fit_are_refused(client, tmp_path):
    upload = send(client, png(half_bright()))
    small = correct(client, upload, png(np.zeros((8, 8), np.uint8)))
    assert small.status_code == 422
    assert "32 × 24" in small.text
    assert correct(client, upload, b"nothing").status_code == 422
    assert correct(client, upload, png(np.zeros((24, 32), np.uint8)), phrase=" ").status_code == 422
    volume = nifti(np.zeros((3, 3, 3), np.uint8), np.eye(4), tmp_path)
    assert "voxels" in correct(client, upload, volume, "mask.nii.gz").text
    assert not list((client.inside.store.uploads / upload["id"]).glob("scratch*"))


def test_all_results_come_in_one_zip_file(client):
    upload = send(client, png(half_bright()), "my scan.png")
    ask(client, upload, "liver", "fracture", "polyp")
    files = unzip(client.get(f"/api/uploads/{upload['id']}/results.zip"))
    assert set(files) == {"my_scan.liver.mask.png", "my_scan.polyp.mask.png", "results.json"}
    told = json.loads(files["results.json"])
    assert [each["phrase"] for each in told["results"]] == ["liver", "fracture", "polyp"]


def test_of_all_results_some_are_had_by_their_numbers(client):
    upload = send(client, png(half_bright()), "scan.png")
    ask(client, upload, "liver", "polyp", "fracture")
    files = unzip(client.get(f"/api/uploads/{upload['id']}/results.zip?numbers=2&numbers=3&numbers=2"))
    assert set(files) == {"scan.polyp.mask.png", "results.json"}
    assert [each["phrase"] for each in json.loads(files["results.json"])["results"]] == ["polyp", "fracture"]
    assert client.get(f"/api/uploads/{upload['id']}/results.zip?numbers=4").status_code == 404


@pytest.fixture
def ct(client) -> dict:
    with open(get_testdata_file("CT_small.dcm", download=False), "rb") as file:
        return send(client, file.read(), "IM0001")


def test_dicom_uploads_have_a_segmentation_and_a_report(client, ct):
    pytest.importorskip("highdicom")
    assert ct["dicom"]
    assert client.get(f"/api/uploads/{ct['id']}/seg.dcm").json()["error"]["where"] == "results"
    ask(client, ct, "liver")
    ask(client, ct, "Liver")
    encoded = client.inside.runtime.encoded
    segmentation = client.get(f"/api/uploads/{ct['id']}/seg.dcm")
    report = client.get(f"/api/uploads/{ct['id']}/sr.dcm")
    assert dcmread(io.BytesIO(segmentation.content)).Modality == "SEG", segmentation.text
    assert dcmread(io.BytesIO(report.content)).Modality == "SR"
    assert client.inside.runtime.encoded == encoded
    assert not list((client.inside.store.uploads / ct["id"]).glob("scratch*"))


def test_without_the_extra_dicom_objects_are_not_implemented(client, ct, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    answer = client.get(f"/api/uploads/{ct['id']}/seg.dcm")
    assert answer.status_code == 501
    assert "vesalius[clinical]" in answer.text


def test_what_is_not_dicom_has_no_dicom_objects(client):
    pytest.importorskip("highdicom")
    upload = send(client, png(half_bright()))
    ask(client, upload, "liver")
    assert client.get(f"/api/uploads/{upload['id']}/seg.dcm").status_code == 422


def test_a_single_slice_of_dicom_is_corrected_in_the_order_of_its_file(client):
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]  # stored upside down
    values = np.full((128, 128), -500, np.int16)
    values[:40, :50] = 300
    dataset.PixelData = (values - int(dataset.RescaleIntercept)).astype(np.int16).tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream)
    upload = send(client, stream.getvalue(), "IM0001")
    (result,) = ask(client, upload, "liver")
    mask = client.get(result["mask"]).content
    assert np.asarray(Image.open(io.BytesIO(mask)))[:30, :40].all()
    files = unzip(correct(client, upload, mask))
    (record,) = json.loads(files["anns/train.json"])
    for name in (f"images/{record['img_name']}", f"masks/{record['mask_name']}"):
        shown = np.asarray(Image.open(io.BytesIO(files[name])).convert("L"))
        assert shown[-30:, -40:].min() > 200
        assert shown[:60].max() < 50
