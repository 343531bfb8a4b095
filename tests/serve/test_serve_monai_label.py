"""Requests as the clients of MONAI Label for 3D Slicer (client.py) and OHIF (MonaiLabelClient.js) send them."""

import email
import json
from urllib.parse import quote_plus

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from serve_client import half_bright, nifti, png, send

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
