"""What becomes of an upload's files, whatever else comes with them, and of the room that they take."""

import asyncio
import gc
import io
import json
import os
import shutil
import weakref
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from serve_client import ask, half_bright, nifti, pack, png, read_nifti, send

from vesalius.errors import ImageError
from vesalius.imaging.dicom import read_dicom
from vesalius.imaging.search import FoundSeries
from vesalius.serve import app, intake
from vesalius.serve.store import UploadStore, no_room, size_of
from vesalius.serve.uploads import new_handle


def drop(client, **contents: bytes) -> list[dict]:
    """Upload files at once; what is known of each upload."""
    files = [("files", (name, content)) for name, content in contents.items()]
    answer = client.post("/api/uploads", files=files)
    assert answer.status_code == 201, answer.text
    return answer.json()["series"] or [answer.json()]


def test_files_that_differ_in_their_suffix_alone_are_images_of_their_own(client):
    both = drop(client, **{"001.bmp": png(half_bright()), "001.png": png(half_bright(8, 16))})
    assert sorted(each["width"] for each in both) == [16, 32]
    for each in both:
        assert ask(client, each, "liver")[0]["known"]
    assert client.inside.store.count() == 2


def test_of_several_volumes_each_keeps_its_header_in_json(client, tmp_path):
    volumes = {f"{name}.nii.gz": nifti(np.full((6, 5, 4), 7, np.int16), np.eye(4), tmp_path) for name in "ab"}
    headers = {f"{name}.json": json.dumps({"Modality": "MR", "EchoTime": 0.1}).encode() for name in "ab"}
    for each in drop(client, **volumes, **headers):
        assert each["modality"] == "MR"
        assert client.inside.engine.open(each["id"]).image.header["EchoTime"] == "100"


def drop_paths(client, *paths: str) -> list[dict]:
    """Upload pictures by paths that may stand twice; what is known of each upload."""
    answer = client.post("/api/uploads", files=[("files", (path, png(half_bright()))) for path in paths])
    assert answer.status_code == 201, answer.text
    return answer.json()["series"] or [answer.json()]


@pytest.mark.parametrize("stem", ["slice 0", "slice_0", "Ж", "scan (1) 0"])
def test_numbered_pictures_are_one_stack_whatever_their_names(client, stem):
    names = [f"{stem}{number}.png" for number in range(5)]
    for sent in (drop_paths(client, *names), drop(client, **{"a.zip": pack(dict.fromkeys(names, png(half_bright())))})):
        assert [each["depth"] for each in sent] == [5]


@pytest.mark.parametrize("stem", ["my scan", "Ж", f"sub-01_task-rest_{'run-01_' * 12}bold"])
def test_a_volume_keeps_its_header_in_json_whatever_its_name(client, tmp_path, stem):
    header = json.dumps({"Modality": "MR"}).encode()
    files = {f"{stem}.nii.gz": nifti(np.full((6, 5, 4), 7, np.int16), np.eye(4), tmp_path), f"{stem}.json": header}
    for sent in (files, {"a.zip": pack(files)}):
        (upload,) = drop(client, **sent)
        assert upload["modality"] == "MR"


def test_folders_keep_their_pictures_and_headers_apart(client, tmp_path):
    stacks = [f"{home}/00{number}.png" for home in ("p1", "p 1", "p_1", "x/p1/a/b", "y/p1/a/b") for number in range(4)]
    packed = pack(dict.fromkeys(stacks, png(half_bright())))
    for sent in (drop_paths(client, *stacks), drop(client, **{"a.zip": packed})):
        assert [each["depth"] for each in sent] == [4] * 5
    volume = nifti(np.full((6, 5, 4), 7, np.int16), np.eye(4), tmp_path)
    headers = {home: json.dumps({"Modality": modality}).encode() for home, modality in (("a", "MR"), ("b", "CT"))}
    files = [(f"{home}/T.nii.gz", volume) for home in headers] + [(f"{home}/T.json", headers[home]) for home in "ba"]
    answer = client.post("/api/uploads", files=[("files", each) for each in files])
    assert sorted(each["modality"] for each in answer.json()["series"]) == ["CT", "MR"]


def test_files_of_one_name_are_all_kept_and_those_of_two_folders_stay_together(client):
    assert len(drop_paths(client, "00002_a.png", "a.png", "a.png")) == 3
    names = [f"00{number}.png" for number in range(4)]
    assert [each["depth"] for each in drop_paths(client, *names, *names)] == [4, 4]
    assert len(drop_paths(client, "p_1", "p 1/x.png", "p 1", "p 1/x.png/y.png")) == 4


def test_hidden_files_are_passed_over_and_told(client):
    names = [f"{number:03d}.png" for number in range(4)]
    (upload,) = drop_paths(client, *(f"._{each}" for each in names), *names)
    assert upload["depth"] == 4
    assert any("4 of 8 files are no images: ._00" in each for each in upload["notices"])


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "C:\\evil.png", "..", "a/../../../../evil.png"])
def test_no_name_of_a_file_leads_out_of_the_upload(client, tmp_path, name):
    (upload,) = drop_paths(client, name, name)[:1]
    home = client.inside.store.uploads / upload["id"]
    assert ask(client, upload, "liver")[0]["known"]
    assert all(path.resolve().is_relative_to(home.parent) for path in home.rglob("*"))
    assert not list(tmp_path.glob("evil*"))


def test_an_archive_in_a_folder_is_unpacked_beside_what_else_was_sent(client):
    archive = pack({f"{number}.png": png(half_bright()) for number in range(4)})
    made = drop(client, **{"p/a.zip": archive, "p/b.png": png(half_bright())})
    assert sorted(each["depth"] for each in made) == [1, 4]


def test_other_stacks_of_a_series_are_told(client, write_echoes, tmp_path):
    (upload,) = drop(client, **{each.name: each.read_bytes() for each in write_echoes(tmp_path / "echoes").iterdir()})
    (notice,) = upload["notices"]
    assert (upload["depth"], notice[:56]) == (3, "1 of 4 slices left out: the largest of 2 stacks is taken")


def test_the_index_of_a_patients_cd_is_no_image_that_cannot_be_read(client):
    index, image = (get_testdata_file(name, download=False) for name in ("DICOMDIR", "CT_small.dcm"))
    disc = {"DICOMDIR": Path(index).read_bytes(), "IM1": Path(image).read_bytes()}
    for sent in ({"cd.zip": pack(disc)}, disc):
        (upload,) = drop(client, **sent)
        assert (upload["modality"], upload["notices"]) == ("CT", ["1 of 2 files are no images: DICOMDIR."])


def test_whoever_tries_again_unpacks_and_places_what_another_began(client, monkeypatch):
    class Ended(BaseException):
        """As if the worker's process was killed."""

    def once(name: str, calls: int):
        real, left = getattr(intake, name), [calls]

        def fail(*args):
            left[0] -= 1
            if left[0] == 0:
                raise Ended
            return real(*args)

        monkeypatch.setattr(intake, name, fail)

    store, budget = client.inside.store, intake.Budget(10**9, lambda: 10**9)
    incoming = store.receive(0)
    (incoming / "source/two.zip").write_bytes(pack({"a.png": png(half_bright()), "b.png": png(half_bright(8, 8))}))
    for name, calls in (("_write_entry", 2), ("_read_all", 1), ("write_upload", 2), ("_move", 2)):
        once(name, calls)
        with pytest.raises(Ended):
            intake.take_in(incoming, "two.zip", budget, lambda: new_handle(0, 1))
    made = intake.take_in(incoming, "two.zip", budget, lambda: new_handle(0, 1))
    assert [each.width for each in made] == [32, 8]
    assert {path.name for path in store.uploads.iterdir() if path != incoming} == {each.id for each in made}
    for each in made:
        assert client.inside.engine.open(each.id).image.pixels.shape[2] == each.width


@pytest.mark.slow
def test_pixels_of_many_series_are_not_held(client, monkeypatch):
    real, read = FoundSeries.read_largest, []

    def watch(found):
        gc.collect()
        held = sum(each() is not None for each in read)
        assert held <= 1
        image = real(found)
        read.append(weakref.ref(image.pixels))
        return image

    monkeypatch.setattr(FoundSeries, "read_largest", watch)
    monkeypatch.setattr(intake, "MOST_SERIES", 2)
    made = drop(client, **{f"{name}.png": png(half_bright(8 + 2 * place)) for place, name in enumerate("xyzw")})
    assert [each["height"] for each in made] == [14, 12]
    assert any("2 of 4 series left out" in each for each in made[0]["notices"])
    assert len(read) == 4


def test_notices_are_few_and_name_no_folder_of_the_service(client):
    damaged = {f"d{place}.nii.gz": b"no volume" for place in range(intake.MOST_NOTICES + 10)}
    (upload,) = drop(client, **damaged, **{"a.png": png(half_bright())})
    assert len(upload["notices"]) == intake.MOST_NOTICES + 1
    assert "d0.nii.gz: cannot be read" in upload["notices"][0]
    assert str(client.inside.store.root) not in json.dumps(upload)
    assert max(map(len, upload["notices"])) <= intake.LONGEST_NOTICE + 1


def test_an_archive_that_lists_endless_files_is_refused_before_its_list_is_read(client, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_FRAMES", "3")
    entry = b"PK\x01\x02" + bytes(24) + b"\x01\0" + bytes(16) + b"x"
    count = 60_000
    size = (count * len(entry)).to_bytes(4, "little")
    end = b"PK\x05\x06" + bytes(4) + 2 * count.to_bytes(2, "little") + size + bytes(6)
    answer = client.post("/api/uploads", files=[("files", ("a.zip", b"PK\x03\x04" + count * entry + end))])
    assert answer.status_code == 422
    assert "lists more files" in answer.json()["error"]["what"]


def test_what_unpacks_counts_against_the_store_as_it_comes(serve):
    client = serve(limits={"store_megabytes": 2})
    answer = client.post("/api/uploads", files=[("files", ("a.zip", pack({"a.png": bytes(3 * 2**20)})))])
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert list(client.inside.store.uploads.iterdir()) == []
    assert client.inside.store.used_bytes == 0


def test_a_full_store_takes_neither_results_nor_labels(serve):
    client = serve(limits={"store_megabytes": 1})
    upload = send(client, png(half_bright()))
    client.put("/datastore/?image=head", files=[("file", ("a.png", png(half_bright())))])
    label = [("label", ("b.nii.gz", bytes(2**19)))]
    assert client.put("/datastore/label?image=head&tag=a", files=label).status_code == 200
    counted = client.inside.store.used_bytes
    assert counted > 2**19
    for tag in ("b", "c"):
        assert client.put(f"/datastore/label?image=head&tag={tag}", files=label).status_code == 429
    assert client.inside.store.used_bytes == counted
    (client.inside.store.uploads / upload["id"] / "results").mkdir()
    (client.inside.store.uploads / upload["id"] / "results" / "x.nii.gz").write_bytes(bytes(2**20))
    client.inside.store.measure(upload["id"])
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["liver"]})
    assert answer.status_code == 429
    client.delete(f"/api/uploads/{upload['id']}")
    assert client.inside.store.used_bytes <= counted


@pytest.mark.slow
def test_labels_of_one_image_are_few_and_their_tags_plain(client):
    client.put("/datastore/?image=head", files=[("file", ("a.png", png(half_bright())))])
    label = [("label", ("b.nii.gz", b"mask"))]
    for tag, status in (("final", 200), ("final.v2", 422), ("../x", 422), ("a b", 422), ("final_v2", 200)):
        assert client.put("/datastore/label", params={"image": "head", "tag": tag}, files=label).status_code == status
    labels = client.get("/datastore/?output=all").json()["objects"]["head"]["labels"]
    assert set(labels) == {"final", "final_v2"}
    told = [client.put(f"/datastore/label?image=head&tag=t{number}", files=label).status_code for number in range(25)]
    assert told.count(200) == 20 - 2


def test_expiry_goes_on_after_a_failure_and_folders_that_vanish(client, monkeypatch, logged):
    calls = []

    def fail_once():
        calls.append(len(calls))
        if len(calls) == 1:
            raise PermissionError("Jane Doe")
        return []

    async def run():
        tidy = asyncio.create_task(app._keep_tidy(client.inside.service))
        while len(calls) < 3:
            await asyncio.sleep(0.001)
        tidy.cancel()

    monkeypatch.setattr(app, "TIDY_S", 0.001)
    monkeypatch.setattr(client.inside.store, "remove_expired", fail_once)
    asyncio.run(run())
    assert "PermissionError" in logged.text
    assert "Jane" not in logged.text
    assert size_of(client.inside.store.uploads / "gone") == 0


def test_what_is_deleted_in_the_midst_of_a_job_leaves_nothing_behind(client, monkeypatch):
    upload = send(client, png(half_bright()))
    real = client.inside.engine.predictor.predict_slices

    def delete(*args):
        client.inside.store.remove(upload["id"])
        return real(*args)

    monkeypatch.setattr(client.inside.engine.predictor, "predict_slices", delete)
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["liver"]})
    assert answer.status_code == 404
    assert list(client.inside.store.uploads.iterdir()) == []
    assert not client.inside.engine._opened


def test_the_worker_lets_go_of_what_was_deleted_or_expired(client):
    uploads = [send(client, png(half_bright())) for _ in range(2)]
    for upload in uploads:
        ask(client, upload, "liver")
    assert client.inside.engine.predictor.features.nbytes
    client.delete(f"/api/uploads/{uploads[0]['id']}")
    shutil.rmtree(client.inside.store.uploads / uploads[1]["id"])
    client.inside.engine.do({"kind": "forget"})
    assert not client.inside.engine._opened
    assert client.inside.engine.predictor.features.nbytes == 0


def test_a_file_that_vanishes_while_it_is_asked_for_is_not_found(client, monkeypatch):
    upload = send(client, png(half_bright()))
    folder = client.inside.store.uploads / upload["id"]
    real = UploadStore.folder

    def vanish(store, handle):
        found = real(store, handle)
        shutil.rmtree(found, ignore_errors=True)
        return found

    monkeypatch.setattr(UploadStore, "folder", vanish)
    for path in ("", "/results.zip", "/seg.dcm"):
        folder.mkdir(exist_ok=True)
        (folder / "upload.json").write_text("{}")
        answer = client.get(f"/api/uploads/{upload['id']}{path}")
        assert answer.status_code == 404, answer.text
        assert "error" in answer.json()


def test_a_record_that_is_damaged_or_foreign_leaves_the_others_alone(client):
    upload = send(client, png(half_bright()))
    handles = [new_handle(0, 1) for _ in range(3)]
    for handle, record in zip(handles, ("{}", "no JSON", '{"of": "another version"}'), strict=True):
        (client.inside.store.uploads / handle).mkdir()
        (client.inside.store.uploads / handle / "upload.json").write_text(record)
    assert client.get("/info/").json()["datastore"]["total"] == 1
    assert client.get("/datastore/?output=all").status_code == 200
    assert client.get(f"/datastore/image?image={upload['id']}").status_code == 200
    assert client.get(f"/api/uploads/{handles[0]}").status_code == 404


def test_a_store_without_room_says_when_to_come_back():
    assert (no_room().status, no_room().retry_after) == (429, 60)


def test_volumes_without_a_place_are_drawn_as_their_pictures_lie_and_say_so(client, tmp_path):
    pictures = {f"s{place:02d}.png": png(half_bright(6, 10)) for place in range(3)}
    (upload,) = drop(client, **pictures)
    assert (upload["kind"], upload["placed"]) == ("volume", False)
    image = read_nifti(client.get(f"/api/uploads/{upload['id']}/image").content, tmp_path)
    assert image.get_sform(coded=True)[1] == 2
    assert np.allclose(image.affine, np.diag([-1, -1, 1, 1]))
    assert (np.asarray(image.dataobj)[5:] == 255).all()
    (result,) = ask(client, upload, "liver")
    for address in (result["mask"], result["probability"]):
        assert np.allclose(read_nifti(client.get(address).content, tmp_path).affine, image.affine)
    drawn = np.zeros((10, 6, 3), np.uint8)
    drawn[2:9, 1:3, 1] = 1
    mask = nifti(drawn, image.affine, tmp_path)
    form = {"files": [("mask", ("mask.nii.gz", mask))], "data": {"phrase": "liver"}}
    answer = client.post(f"/api/uploads/{upload['id']}/corrections", **form)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (name,) = [each for each in archive.namelist() if each.startswith("masks/")]
        from PIL import Image

        corrected = np.asarray(Image.open(io.BytesIO(archive.read(name))))
    assert "_0001_" in name
    assert ((corrected > 0) == drawn[..., 1].T.astype(bool)).all()


def test_what_says_where_it_lies_is_placed(client, tmp_path):
    placed = send(client, nifti(np.zeros((4, 5, 6), np.int16), np.eye(4), tmp_path), "a.nii.gz")
    assert placed["placed"]
    stored = dcmread(get_testdata_file("CT_small.dcm", download=False))
    stream = io.BytesIO()
    stored.save_as(stream)
    assert send(client, stream.getvalue(), "a.dcm")["placed"]
    header = bytearray(zlib.decompress(nifti(np.zeros((4, 5, 6), np.int16), np.eye(4), tmp_path), 31))
    header[252:256] = bytes(4)  # both codes
    assert not send(client, bytes(header), "b.nii")["placed"]


def test_a_deflated_file_that_inflates_to_too_much_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_MEGABYTES", "2")
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    for rows, fits in ((128, True), (1400, False)):
        dataset.Rows = dataset.Columns = rows
        dataset.PixelData = bytes(2 * rows * rows)
        dataset.save_as(tmp_path / "deflated.dcm", enforce_file_format=True)
        assert os.path.getsize(tmp_path / "deflated.dcm") < 2**16
        if fits:
            assert read_dicom(tmp_path / "deflated.dcm").pixels.shape == (1, 128, 128)
            continue
        monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("inflated at once"))
        with pytest.raises(ImageError, match="limit of 2"):
            read_dicom(tmp_path / "deflated.dcm")
