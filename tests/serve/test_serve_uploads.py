import io
import os
import shutil
import time
import zipfile

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from serve_client import ask, half_bright, nifti, pack, png, send

from vesalius.errors import OutputError
from vesalius.serve.store import UploadStore
from vesalius.serve.uploads import new_handle, worker_of


def refused(client, content: bytes, name: str = "images.zip") -> dict:
    answer = client.post("/api/uploads", files=[("files", (name, content))])
    assert answer.status_code == 422, answer.text
    assert str(client.inside.store.root) not in answer.text
    assert list(client.inside.store.uploads.iterdir()) == []
    return answer.json()["error"]


def slices(count: int = 3, series: str = "1.2.3", rows: int = 16) -> dict[str, bytes]:
    """DICOM files of one series, by name."""
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    files = {}
    dataset.Rows = dataset.Columns = rows
    dataset.PixelData = np.zeros((rows, rows), np.int16).tobytes()
    dataset.SeriesInstanceUID = series
    for index in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{index}"
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [0, 0, 5 * index]
        stream = io.BytesIO()
        dataset.save_as(stream)
        files[f"IM{index}"] = stream.getvalue()
    return files


def test_several_dicom_files_are_one_series(client):
    files = [("files", (name, content)) for name, content in slices().items()]
    answer = client.post("/api/uploads", files=files)
    upload = answer.json()
    assert (upload["kind"], upload["depth"], upload["modality"], upload["dicom"]) == ("volume", 3, "CT", True)
    assert upload["name"] == "IM0 and 2 more"
    assert upload["series"] == []
    assert len(ask(client, upload, "liver")[0]["slice_existence"]) == 3


def test_series_are_called_as_whoever_sent_them_calls_them(client):
    folders = "study/Knie <links>", 'study/B & "q"'
    files = [
        ("files", (f"{folder}/{name}", content))
        for folder, series in zip(folders, ("1.2.3", "1.2.4"), strict=True)
        for name, content in slices(2, series).items()
    ]
    made = client.post("/api/uploads", files=[("files", ("study/readme.txt", b"words")), *files]).json()["series"]
    assert sorted(each["name"] for each in made) == ['study: B & "q"', "study: Knie <links>"]
    pictures = {f"{name}/é.png": png(half_bright(width=width)) for name, width in (("a", 32), ("ß", 48))}
    packed = send(client, pack(pictures), 'my "two".zip')
    assert [each["name"] for each in packed["series"]] == ['my "two".zip: ß/é.png', 'my "two".zip: a/é.png']


def test_notices_name_no_option_that_the_page_lacks(client, tmp_path):
    upload = send(client, nifti(np.zeros((8, 8, 3, 2), np.int16), np.eye(4), tmp_path), "series.nii.gz")
    (told,) = (each for each in upload["notices"] if "left out" in each)
    assert told.endswith("Send what is wanted by itself.")


@pytest.mark.slow
def test_of_several_series_each_has_a_handle_and_the_largest_is_first(client):
    small = {f"b/{name}": content for name, content in slices(2, "1.2.9").items()}
    large = {f"a/{name}": content for name, content in slices(4).items()}
    upload = send(client, pack({**small, **large, "c/notes.txt": b"words"}), "study.zip")
    assert [each["depth"] for each in upload["series"]] == [4, 2]
    assert upload["id"] == upload["series"][0]["id"]
    assert [each["name"] for each in upload["series"]] == ["study.zip: a", "study.zip: b"]
    assert any("notes.txt" in each for each in upload["notices"])
    for each in upload["series"]:
        assert ask(client, each, "liver")[0]["known"]
    client.delete(f"/api/uploads/{upload['id']}")
    assert client.get(f"/api/uploads/{upload['series'][1]['id']}").status_code == 200


def test_a_zip_file_of_one_picture_is_that_picture(client):
    upload = send(client, pack({"a/b/picture.png": png(half_bright()), "__MACOSX/._picture.png": b"x"}), "one.zip")
    assert (upload["kind"], upload["name"]) == ("picture", "one.zip")
    assert "1 hidden" in upload["notices"][0]


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png", "a/..\\..\\evil.png"]
)
def test_archives_that_name_places_outside_are_refused(client, tmp_path, name):
    assert "outside" in refused(client, pack({name: png(half_bright())}))["what"]
    assert not list(tmp_path.rglob("evil*"))


def test_links_in_archives_are_left_out(client):
    def link(entry: zipfile.ZipInfo) -> None:
        if entry.filename == "link.png":
            entry.external_attr = 0o120777 << 16

    upload = send(client, pack({"link.png": b"/etc/passwd", "a.png": png(half_bright())}, change=link), "a.zip")
    assert "links" in upload["notices"][0]


def test_archives_that_unpack_to_too_much_are_refused_as_they_are_unpacked(serve):
    client = serve(limits={"unpacked_megabytes": 1})
    told = refused(client, pack({"a.png": b"\0" * (3 * 2**20)}))
    assert "more than 1 megabytes" in told["what"]
    many = refused(client, pack({f"{index}.png": b"\0" * 2**19 for index in range(4)}))
    assert "megabytes" in many["what"]


def test_archives_of_too_many_files_are_refused(client, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_FRAMES", "3")
    assert "limit of 3" in refused(client, pack({f"{index}.png": b"" for index in range(4)}))["what"]


def test_compressed_volumes_that_unpack_to_too_much_are_refused_before(serve, tmp_path):
    client = serve(limits={"unpacked_megabytes": 1})
    values = np.zeros((128, 128, 80), np.int16)
    told = refused(client, nifti(values, np.eye(4), tmp_path), "bomb.nii.gz")
    assert "unpacks to 2 megabytes" in told["what"]


def test_pictures_beyond_the_limit_of_pixels_are_refused(client, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_PIXELS", "100")
    assert "limit of 100" in refused(client, png(half_bright()), "a.png")["what"]


@pytest.mark.parametrize("content", [b"PK\x03\x04 damaged", b"", b"\0" * 200, b"%PDF-1.4", b"<svg/>"])
def test_what_is_no_image_is_refused_in_words(client, content):
    assert refused(client, content, "file")["what"]


def test_archives_with_a_password_are_refused(client):
    content = bytearray(pack({"a.png": png(half_bright())}))
    content[6] |= 1  # the flag in the entry's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    assert "encrypted" in refused(client, bytes(content))["what"]


@pytest.mark.parametrize(
    "parts",
    [
        {"url": "http://169.254.169.254/latest"},
        {"files": "http://169.254.169.254/latest"},
        {"files": "/etc/passwd", "path": "/etc/passwd"},
    ],
)
def test_addresses_and_paths_in_place_of_files_fetch_nothing(client, parts):
    answer = client.post("/api/uploads", data=parts, files=[("other", ("x", b""))])
    assert answer.status_code == 422
    assert answer.json()["error"]["where"] == "files"


@pytest.mark.parametrize("handle", ["..", "%2e%2e", "../../etc", "0" * 31, "g" * 32, "0" * 33, "0" * 32 + "%00", "."])
def test_what_is_no_handle_is_not_found(client, handle):
    for path in (f"/api/uploads/{handle}", f"/api/uploads/{handle}/results/1.png", f"/api/uploads/{handle}/image"):
        assert client.get(path).status_code in (404, 405)


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "x", "..%2f..%2fupload", "99999999999999999999"])
def test_what_is_no_number_of_a_result_is_refused(client, number):
    upload = send(client, png(half_bright()))
    for path in (f"{number}.png", f"{number}.json", f"{number}/probability.png"):
        assert client.get(f"/api/uploads/{upload['id']}/results/{path}").status_code in (404, 422)


def test_static_files_do_not_lead_out_of_their_folder(client):
    for path in ("/../pyproject.toml", "/%2e%2e/%2e%2e/settings.py", "/..%5c..%5csettings.py", "//etc/passwd"):
        assert client.get(path).status_code == 404


def test_uploads_expire_and_every_request_begins_their_time_anew(client):
    upload = send(client, png(half_bright()))
    store = client.inside.store
    record = store.uploads / upload["id"] / "upload.json"
    os.utime(record, (time.time() - 3000, time.time() - 3000))
    assert client.get(f"/api/uploads/{upload['id']}").status_code == 200
    assert time.time() - record.stat().st_mtime < 100
    os.utime(record, (time.time() - 4000, time.time() - 4000))
    assert client.get(f"/api/uploads/{upload['id']}").status_code == 404
    assert store.remove_expired() == [upload["id"]]
    assert list(store.uploads.iterdir()) == []


def test_after_a_restart_what_expired_and_what_was_half_received_is_removed(tmp_path):
    store = UploadStore(tmp_path, 60, 100)
    with store.opened():
        store.receive(10)
        for age in (10, 100):
            folder = store.uploads / new_handle(0, 1)
            folder.mkdir()
            (folder / "upload.json").write_text("{}")
            os.utime(folder / "upload.json", (time.time() - age, time.time() - age))
        (store.uploads / new_handle(0, 1)).mkdir()  # a removal that was interrupted
        (store.uploads / "notes of somebody").mkdir()
    with UploadStore(tmp_path, 60, 100).opened():
        left = sorted(path.name for path in store.uploads.iterdir())
    assert len(left) == 2
    assert "notes of somebody" in left


def test_a_store_serves_one_service(tmp_path):
    with UploadStore(tmp_path, 60, 100).opened():
        with pytest.raises(OutputError, match="another vesalius serve"), UploadStore(tmp_path, 60, 100).opened():
            pass
        assert (tmp_path / "uploads").stat().st_mode & 0o077 == 0


def test_a_full_store_says_when_to_come_back(serve):
    client = serve(limits={"store_megabytes": 1})
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)
    send(client, png(noise))
    answer = client.post("/api/uploads", files=[("files", ("a.png", png(noise)))])
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_handles_lead_to_the_worker_that_made_them():
    assert {worker_of(new_handle(place, 3), 3) for place in range(3)} == {0, 1, 2}
    assert len({new_handle(0, 1) for _ in range(100)}) == 100


def test_what_was_deleted_in_the_meantime_is_not_found(client):
    upload = send(client, png(half_bright()))
    shutil.rmtree(client.inside.store.uploads / upload["id"] / "source")
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["liver"]})
    assert answer.status_code in (404, 422)


def test_features_take_no_more_memory_than_allowed(serve):
    client = serve(cache=3 * 8 * 8 * 4)  # three pictures of the bright runtime's features
    uploads = [send(client, png(half_bright())) for _ in range(5)]
    for upload in uploads:
        ask(client, upload, "liver")
        assert client.inside.engine.predictor.features.nbytes <= 3 * 8 * 8 * 4
    before = client.inside.runtime.encoded
    ask(client, uploads[-1], "polyp")
    assert client.inside.runtime.encoded == before
    ask(client, uploads[0], "polyp")
    assert client.inside.runtime.encoded == before + 1
