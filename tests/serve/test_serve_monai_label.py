"""Requests as the clients of MONAI Label for 3D Slicer (client.py) and OHIF (MonaiLabelClient.js) send them."""

import asyncio
import email
import errno
import json
import os
import shutil
import time
from functools import partial
from types import SimpleNamespace
from urllib.parse import quote_plus

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from serve_client import half_bright, nifti, png, send

from vesalius.masks import MaskRules
from vesalius.serve import engine
from vesalius.serve.monai_label import SeriesArchive
from vesalius.serve.store import UploadStore
from vesalius.serve.uploads import Upload, new_handle, write_upload

LIMIT = "----------lImIt_of_THE_fIle_eW_$"
"""Boundary of Slicer's forms."""
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -20], [0, 0, 5, 7], [0, 0, 0, 1]])


def slicer_form(client, method: str, selector: str, fields: dict[str, str], files: dict[str, tuple[str, bytes]]):
    """A form with whole paths as file names, as Slicer's client writes it."""
    body = b""
    for key, value in fields.items():
        body += f'--{LIMIT}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
    for key, (name, content) in files.items():
        head = f'--{LIMIT}\r\nContent-Disposition: form-data; name="{key}"; filename="{name}"\r\n'
        body += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    body += f"--{LIMIT}--\r\n\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={LIMIT}", "content-length": str(len(body))}
    return client.request(method, selector, content=body, headers=headers)


def parse(answer) -> tuple[dict, bytes, str]:
    """Parameters, file and its name of an answer with several parts."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    params, image = email.message_from_bytes(head + answer.content).get_payload()
    return json.loads(params.get_payload(decode=True)), image.get_payload(decode=True), image.get_filename()


def read_nrrd(content: bytes, folder):
    sitk = pytest.importorskip("SimpleITK")
    (folder / "label.nrrd").write_bytes(content)
    return sitk.ReadImage(str(folder / "label.nrrd"))


@pytest.fixture
def volume(tmp_path) -> bytes:
    values = np.full((10, 8, 6), 100, np.int16)
    values[:4] = 1000
    return nifti(values, AFFINE, tmp_path)


def test_slicer_uploads_an_image_and_gets_a_label_map_on_its_grid(client, tmp_path, volume):
    assert client.get("/auth/").json() == {"enabled": False}
    info = client.get("/info/").json()
    (model,) = info["models"]
    assert info["models"][model]["type"] == "segmentation"
    assert info["models"][model]["labels"] == {"liver": 1, "polyp": 2}
    assert not info.get("config")
    image = quote_plus("CT chest (1)")
    added = slicer_form(
        client,
        "PUT",
        f"/datastore/?image={image}",
        {"params": '{"client_id": "user-xyz"}'},
        {"file": ("/tmp/x/a.nii.gz", volume)},
    )
    assert added.json() == {"image": "CT chest (1)"}
    asked = {**info["models"][model]["config"], "result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "x"}
    answer = slicer_form(client, "POST", f"/infer/{model}?image={image}", {"params": json.dumps(asked)}, {})
    params, content, name = parse(answer)
    assert name.endswith(".nrrd")
    assert params["label_names"]
    label = read_nrrd(content, tmp_path)
    assert label.GetSize() == (10, 8, 6)
    assert label.GetSpacing() == pytest.approx((2, 2, 5))
    assert label.GetOrigin() == pytest.approx((-30, 20, 7))
    assert label.GetDirection() == pytest.approx((1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk = pytest.importorskip("SimpleITK")
    marked = sitk.GetArrayFromImage(label)
    assert set(np.unique(marked)) - {0} == set(params["label_names"].values())
    assert marked[:, :, 0].all()
    assert not marked[:, :, -1].any()


def test_slicer_asks_phrases_by_its_options_and_sessions_work(client, volume):
    made = client.put("/session/", files=[("files", ("a.nii.gz", volume))], data={"client_id": "user-xyz"}).json()
    session = made["session_id"]
    assert client.get(f"/session/{session}").json()["name"] == session
    fields = {"params": json.dumps({"phrases": "polyp, fracture", "threshold": "0.5", "existence": ""})}
    answer = slicer_form(client, "POST", f"/infer/pocket?image=x&session_id={session}", fields, {})
    params, content, name = parse(answer)
    assert (params["label_names"], name[-7:], content[:2]) == ({"polyp": 2}, ".nii.gz", b"\x1f\x8b")
    assert "fracture" in params["notices"][0]
    assert client.delete(f"/session/{session}").status_code == 200
    assert client.get(f"/session/{session}").status_code == 404


def test_slicer_submits_a_label_and_gets_it_back(client, volume):
    slicer_form(client, "PUT", "/datastore/?image=head", {}, {"file": ("/tmp/a.nii.gz", volume)})
    saved = slicer_form(
        client,
        "PUT",
        "/datastore/label?image=head",
        {"params": '{"label_info": []}'},
        {"label": ("/tmp/b.nii.gz", b"mask")},
    )
    assert saved.json() == {"image": "head", "label": "head"}
    objects = client.get("/datastore/?output=all").json()["objects"]
    assert objects["head"]["labels"] == {"final": {"ext": ".nii.gz", "info": {}}}
    back = client.get("/datastore/label?label=head&tag=final")
    assert back.content == b"mask"
    assert 'filename="final.nii.gz"' in back.headers["content-disposition"]
    assert client.get("/datastore/").json() == {"total": 1, "completed": 1, "label_tags": {"final": 1}}
    assert client.get("/train/?check_if_running=true").status_code != 200  # how Slicer learns that nothing trains


@pytest.mark.parametrize(("given", "meant"), [(0, 0), ("0", 0), (1, 1), ("0.25", 0.25), (None, 0.5), ("", 0.5)])
def test_an_existence_of_nothing_at_all_is_taken_as_it_is_given(client, volume, monkeypatch, given, meant):
    asked = []
    monkeypatch.setattr(engine, "MaskRules", lambda *args, **more: asked.append(args[1]) or MaskRules(*args, **more))
    slicer_form(client, "PUT", "/datastore/?image=head", {}, {"file": ("/tmp/a.nii.gz", volume)})
    fields = {"params": json.dumps({"phrases": "polyp", "existence": given})}
    assert slicer_form(client, "POST", "/infer/pocket?image=head", fields, {}).status_code == 200
    assert asked == [meant]


def test_ohif_asks_by_the_uid_of_a_series_and_gets_the_plain_file(client, tmp_path):
    with open(get_testdata_file("CT_small.dcm", download=False), "rb") as file:
        send(client, file.read(), "slice.dcm")
    uid = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
    params = {
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    answer = client.post(f"/infer/pocket?image={uid}&output=image", files={"params": (None, json.dumps(params))})
    assert answer.status_code == 200, answer.text
    assert read_nrrd(answer.content, tmp_path).GetSize() == (128, 128, 1)
    told = client.post(f"/infer/pocket?image={uid}&output=json", files={"params": (None, "{}")}).json()
    assert set(told) == {"label_names", "existence", "notices"}


def test_a_picture_can_be_sent_along_with_the_request(client, tmp_path):
    fields = {"params": '{"result_extension": ".nrrd"}'}
    answer = slicer_form(client, "POST", "/infer/pocket?image=", fields, {"file": ("/tmp/a.png", png(half_bright()))})
    _, content, _ = parse(answer)
    assert read_nrrd(content, tmp_path).GetSize() == (32, 24, 1)


def test_a_token_is_had_for_a_password(serve):
    client = serve(token="a token that is long enough")
    assert client.get("/auth/").json() == {"enabled": True}
    assert client.get("/auth/token/valid").status_code == 401
    assert (
        client.post("/auth/token", data={"username": "x", "password": "wrong", "grant_type": "password"}).status_code
        == 401
    )
    data = {"username": "x", "password": "a token that is long enough", "grant_type": "password"}
    token = client.post("/auth/token", data=data).json()
    headers = {"Authorization": f"{token['token_type']} {token['access_token']}"}
    assert client.get("/auth/token/valid", headers=headers).status_code == 200
    assert client.get("/info/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ("[1]", "params"),
        ("{", "params"),
        ('{"phrases": [1]}', "phrases"),
        ('{"phrases": 5}', "phrases"),
        ('{"threshold": "x"}', "threshold"),
        ('{"threshold": 3}', "threshold"),
        ('{"threshold": 0}', "threshold"),
        ('{"existence": 1.5}', "existence"),
        ('{"existence": [0]}', "existence"),
        ('{"result_extension": "/../../x"}', "result_extension"),
        ('{"result_extension": ".exe"}', "result_extension"),
        ('{"phrases": "fracture"}', "phrases"),
    ],
)
def test_parameters_of_another_form_are_refused_by_name(client, volume, params, where):
    slicer_form(client, "PUT", "/datastore/?image=head", {}, {"file": ("/tmp/a.nii.gz", volume)})
    answer = slicer_form(client, "POST", "/infer/pocket?image=head", {"params": params}, {})
    assert answer.status_code == 422
    assert answer.json()["error"]["where"] == where
    assert not list(client.inside.store.uploads.rglob("scratch*"))


def test_images_and_models_that_are_not_there_are_not_found(client):
    for path in ("/infer/pocket?image=nothing", "/infer/pocket?image=..", "/infer/pocket", "/infer/other?image=x"):
        assert slicer_form(client, "POST", path, {"params": "{}"}, {}).status_code == 404
    for path in ("/datastore/image?image=nothing", "/datastore/label?label=..&tag=../x", "/session/x"):
        assert client.get(path).status_code == 404


def test_ohif_gets_two_bytes_a_voxel_where_it_asks_for_them(client, volume, tmp_path):
    slicer_form(client, "PUT", "/datastore/?image=head", {}, {"file": ("/tmp/a.nii.gz", volume)})
    params = {"result_extension": ".nrrd", "result_dtype": "uint16"}
    answer = client.post("/infer/pocket?image=head&output=image", files={"params": (None, json.dumps(params))})
    header, _, raw = answer.content.partition(b"\n\n")
    assert b"type: unsigned short" in header
    assert b"endian: little" in header
    assert set(np.unique(np.frombuffer(raw, "<u2"))) == {0, 1}
    assert len(raw) == 10 * 8 * 6 * 2
    refused = client.post("/infer/pocket?image=head", files={"params": (None, '{"result_dtype": "float99"}')})
    assert (refused.status_code, refused.json()["error"]["where"]) == (422, "result_dtype")


UID = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


def test_the_uid_of_a_series_neither_shows_nor_deletes_what_others_uploaded(client):
    with open(get_testdata_file("CT_small.dcm", download=False), "rb") as file:
        upload = send(client, file.read(), "slice.dcm")
    assert client.get(f"/datastore/image?image={UID}").status_code == 404
    assert client.get(f"/datastore/label?label={UID}").status_code == 404
    assert client.delete(f"/datastore/?id={UID}").status_code == 404
    assert client.put(f"/datastore/label?image={UID}", files=[("label", ("a.nii.gz", b"x"))]).status_code == 404
    assert client.get(f"/api/uploads/{upload['id']}").status_code == 200


def keep_upload(store: UploadStore, minutes_ago: float, asked: float = 0, **facts) -> str:
    """An upload that arrived some minutes ago, and was asked for later; its handle."""
    handle = new_handle(0, 1)
    known = {"kind": "volume", "name": "a", "width": 8, "height": 8, "depth": 1, "spacing_mm": None, "modality": "CT"}
    known |= {"plane": None, "dicom": True, "slice_axis": 0, "slice_reversed": False, "notices": [], "source": "source"}
    (store.uploads / handle).mkdir()
    write_upload(store.uploads / handle, Upload(handle, arrived=1e9 - 60 * minutes_ago, **{**known, **facts}))
    os.utime(store.uploads / handle / "upload.json", (time.time() - 60 * asked,) * 2)
    return handle


def test_the_uid_of_a_series_means_what_was_fetched_or_else_the_upload_of_most_slices(client):
    store = client.inside.store
    whole = keep_upload(store, 20, 10, depth=55, series_uid="1.2")
    keep_upload(store, 10, depth=3, series_uid="1.2")
    assert store.find("1.2", by_series=True) == whole
    fetched = keep_upload(store, 30, 20, depth=50, series_uid="1.2", alias="1.2")
    assert store.find("1.2", by_series=True) == fetched


def test_of_images_under_one_name_the_last_to_arrive_is_meant_whichever_was_asked_for(client):
    store = client.inside.store
    last, first = keep_upload(store, 10, 10, alias="head"), keep_upload(store, 20, 0, alias="head", kind="picture")
    for _ in range(2):
        assert store.find("head") == last
        assert client.get("/datastore/?output=all").json()["objects"]["head"]["image"]["ext"] == ".nii.gz"
        store.folder(first)


def test_an_upload_says_when_it_arrived_to_the_service_alone(client):
    upload = send(client, png(half_bright()))
    assert "arrived" not in upload
    assert time.time() - client.inside.store.read(upload["id"]).arrived < 60


def test_a_label_that_cannot_be_written_leaves_the_one_before(client, volume, monkeypatch):
    slicer_form(client, "PUT", "/datastore/?image=head", {}, {"file": ("/tmp/a.nii.gz", volume)})
    put = partial(client.put, "/datastore/label?image=head")
    assert put(files=[("label", ("b.nii.gz", b"before"))]).status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        assert put(files=[("label", ("b.nrrd", b"after"))]).status_code == 500
    assert client.get("/datastore/label?label=head").content == b"before"
    assert put(files=[("label", ("b.nrrd", b"after"))]).status_code == 200
    assert client.get("/datastore/label?label=head").content == b"after"
    assert client.get("/datastore/?output=all").json()["objects"]["head"]["labels"] == {
        "final": {"ext": ".nrrd", "info": {}}
    }


class Fetched:
    """An archive of one series."""

    calls, at_once, most_at_once = [], 0, 0

    def __init__(self, url):
        pass

    def find(self, filters, limit):
        return [SimpleNamespace(study="1", instances=9)]

    def fetch(self, study, series, folder, most, instances):
        Fetched.at_once += 1
        Fetched.most_at_once = max(Fetched.at_once, Fetched.most_at_once)
        Fetched.calls.append((series, most, instances))
        time.sleep(0.01)
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), folder / "1.dcm")
        Fetched.at_once -= 1


def test_a_series_is_fetched_once_few_at_a_time_and_within_limits(serve, monkeypatch):
    pytest.importorskip("dicomweb_client", reason="the extra pacs is not installed")
    client = serve(dicomweb="https://archive.example.org", limits={"upload_megabytes": 3})
    monkeypatch.setattr("vesalius.pacs.dicomweb.DicomWeb", Fetched)
    archive = SeriesArchive(client.inside.service)

    async def ask_often():
        return await asyncio.gather(*(archive.find(f"1.2.{each % 4}") for each in range(12)))

    found = asyncio.run(ask_often())
    assert len(set(found)) == 4
    assert sorted(series for series, *_ in Fetched.calls) == [f"1.2.{each}" for each in range(4)]
    assert {(most, instances) for _, most, instances in Fetched.calls} == {(3 * 2**20, 9)}
    assert Fetched.most_at_once <= 2


def test_an_address_that_is_none_is_refused_at_the_start(run):
    pytest.importorskip("dicomweb_client", reason="the extra pacs is not installed")
    code, _, told = run("serve", "--dicomweb", "foo")
    assert code == 2
    assert "expected the address of a DICOMweb service" in told
