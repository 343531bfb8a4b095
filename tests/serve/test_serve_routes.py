import asyncio
import io
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from serve_client import ask, half_bright, nifti, png, read_nifti, send

from vesalius.errors import ImageError
from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.models.checkpoint_file import ExportContract, write_contract
from vesalius.models.registry import ModelRecipe
from vesalius.naming.labels import Answer, SeriesName
from vesalius.serve.engine import Engine
from vesalius.serve.refusals import ServiceError, from_error
from vesalius.serve.running import bound
from vesalius.serve.settings import ServeSettings


def mask_of(client, result) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(client.get(result["mask"]).content)))


def test_a_picture_is_uploaded_segmented_and_its_mask_is_what_is_bright(client):
    upload = send(client, png(half_bright()), "my scan.png")
    assert (upload["kind"], upload["name"], upload["width"], upload["height"]) == ("picture", "my scan.png", 32, 24)
    (result,) = ask(client, upload, "liver")
    mask = mask_of(client, result)
    assert mask.shape == (24, 32)
    assert mask[:, 20:].all()
    assert not mask[:, :12].any()
    assert result["share"] == pytest.approx(0.5, abs=0.1)
    assert result["existence"] > 0.9


def test_a_worker_is_ready_once_its_model_has_encoded_something_whatever_it_learnt(client):
    client.inside.engine.predictor.knowledge = Knowledge([LearntTarget("spleen", ("ct",), 1)])
    before = client.inside.runtime.encoded
    assert client.inside.engine.hello() == {"ready": True}
    assert client.inside.runtime.encoded == before + 1


def test_the_image_comes_back_on_the_grid_of_its_masks(client):
    upload = send(client, png(half_bright()))
    shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/uploads/{upload['id']}/image").content)))
    assert (shown == half_bright()).all()


def test_probabilities_are_levels_from_0_to_255(client):
    (result,) = ask(client, send(client, png(half_bright())), "liver")
    levels = np.asarray(Image.open(io.BytesIO(client.get(result["probability"]).content)))
    assert levels.shape == (24, 32)
    assert levels[:, -1].min() > 200
    assert levels[:, 0].max() < 50


def test_a_phrase_that_was_not_learnt_is_answered_in_words(client):
    upload = send(client, png(half_bright()))
    known, unknown = ask(client, upload, "liver", "fracture")
    assert (known["number"], unknown["number"]) == (1, 2)
    assert (unknown["known"], unknown["reason"], unknown["mask"]) == (False, "not learnt", None)
    assert unknown["existence"] is None
    assert client.get(f"/api/uploads/{upload['id']}/results/2.png").status_code == 404
    assert client.get(f"/api/uploads/{upload['id']}/results/2/probability.png").status_code == 404
    assert client.get(f"/api/uploads/{upload['id']}/results/2.json").json() == unknown


def test_a_denial_has_no_probabilities(client):
    upload = send(client, png(half_bright()))
    (result,) = ask(client, upload, "no liver")
    assert (result["reason"], result["probability"]) == ("a denial", None)
    assert client.get(f"/api/uploads/{upload['id']}/results/1/probability.png").status_code == 404


def test_after_a_restart_with_other_weights_names_are_made_anew_and_old_masks_get_no_probabilities(client, tmp_path):
    class Naming:
        calibration = SimpleNamespace(least_probability=0.5)

        def label(self, stacks):
            return SeriesName(Path("x"), *[Answer(None, None, "pixels")] * 3, ())

    upload = send(client, png(half_bright()))
    ask(client, upload, "liver", "polyp")
    assert client.get(f"/api/uploads/{upload['id']}/results/2/probability.png").status_code == 200
    before, other = client.inside.engine, tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    after = Engine(before.predictor, before.uploads, str(other), 10**9)
    for engine in (before, after):
        engine.__dict__["_labeller"] = Naming()
        assert engine.do({"kind": "name", "upload": upload["id"]})["model"] == engine.model
        assert engine.do({"kind": "name", "upload": upload["id"]})["model"] == engine.model
    with pytest.raises(ServiceError, match="made by another model"):
        after.do({"kind": "probability", "upload": upload["id"], "number": 1})
    after.do({"kind": "probability", "upload": upload["id"], "number": 2})  # written by its own model
    assert after.do({"kind": "segment", "upload": upload["id"], "phrases": ["liver"]})["results"][0]["number"] == 3
    after.do({"kind": "probability", "upload": upload["id"], "number": 3})


def test_an_export_that_does_not_name_is_not_asked_to(client, tmp_path):
    contract = ExportContract("onnx", "float32", ModelRecipe("pocket", {}), {}, {}, {"name": "no common space"})
    write_contract(tmp_path, contract, SimpleNamespace(image_size=32, mean=(), std=()), {})
    before, upload = client.inside.engine, send(client, png(half_bright()))
    with pytest.raises(ServiceError, match="this export does not name: no common space") as caught:
        Engine(before.predictor, before.uploads, str(tmp_path), 10**9).do({"kind": "name", "upload": upload["id"]})
    assert caught.value.status == 501


def test_a_further_phrase_encodes_nothing(client):
    upload = send(client, png(half_bright()))
    ask(client, upload, "liver")
    before = client.inside.runtime.encoded
    ask(client, upload, "polyp", "lung")
    assert client.inside.runtime.encoded == before


@pytest.mark.slow
def test_many_who_take_turns_have_their_images_encoded_once(client):
    uploads = [send(client, png(half_bright()), f"{number}.png") for number in range(12)]
    before = client.inside.runtime.encoded
    for phrase in ("liver", "polyp"):
        for upload in uploads:
            ask(client, upload, phrase)
    assert client.inside.runtime.encoded == before + len(uploads)


def test_pixels_of_open_images_are_bounded(client, monkeypatch):
    monkeypatch.setattr("vesalius.serve.engine.OPENED_BYTES", 24 * 32 * 3)
    uploads = [send(client, png(half_bright()), f"{number}.png") for number in range(3)]
    for upload in uploads:
        ask(client, upload, "liver")
    assert list(client.inside.engine._opened) == [uploads[-1]["id"]]


def test_a_threshold_decides_what_is_marked(client):
    upload = send(client, png(np.full((16, 16, 3), 130, np.uint8)))
    low, high = ask(client, upload, "liver")[0], ask(client, upload, "liver", threshold=0.9)[0]
    assert low["share"] == 1
    assert high["share"] == 0


@pytest.mark.parametrize("flip", [1, -1])
def test_a_volume_has_mask_image_and_probability_on_its_own_grid(client, tmp_path, flip):
    values = np.full((10, 8, 6), 100, np.int16)
    values[..., 3:] = 1000
    affine = np.diag([-2.0, 2, 5 * flip, 1])
    upload = send(client, nifti(values, affine, tmp_path), "head.nii.gz")
    assert (upload["kind"], upload["depth"], upload["spacing_mm"]) == ("volume", 6, [2, 2, 5])
    assert (upload["slice_axis"], upload["slice_reversed"]) == (2, flip < 0)
    (result,) = ask(client, upload, "liver")
    for address in (result["mask"], f"/api/uploads/{upload['id']}/image", result["probability"]):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        made = read_nifti(answer.content, tmp_path)
        assert made.shape == (10, 8, 6)
        assert np.allclose(made.affine, affine)
        assert np.asarray(made.dataobj)[..., 3:].mean() > np.asarray(made.dataobj)[..., :3].mean()
    image = read_nifti(client.get(f"/api/uploads/{upload['id']}/image").content, tmp_path)
    assert (np.asarray(image.dataobj) == values).all()
    probability = np.asarray(read_nifti(client.get(result["probability"]).content, tmp_path).dataobj)
    assert 0 <= probability.min() <= probability.max() <= 1
    shown = [5 - each if flip < 0 else each for each in result["slices_marked"]]
    assert set(shown) == {3, 4, 5}
    assert result["volume_ml"] == pytest.approx(10 * 8 * 3 * 20 / 1000, rel=0.2)


def test_what_the_model_learnt_is_told_with_names_to_suggest(client):
    model = client.get("/api/model").json()
    assert model["name"] == "pocket"
    liver = next(each for each in model["targets"] if each["target"] == "liver")
    assert liver["names"][0] == "liver"
    assert (liver["modalities"], liver["pictures"]) == (["ct", "mr"], 10)


def test_an_upload_is_shown_and_deleted(client):
    upload = send(client, png(half_bright()))
    address = f"/api/uploads/{upload['id']}"
    assert client.get(address).json()["width"] == 32
    assert client.delete(address).status_code == 204
    gone = client.get(address)
    assert gone.status_code == 404
    assert "expired" in gone.json()["error"]["what"]
    assert list(client.inside.store.uploads.iterdir()) == []


def test_errors_carry_the_clear_messages_of_the_command_line(client):
    answer = client.post("/api/uploads", files=[("files", ("scan.nii.gz", b"no volume"))])
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert error["where"] == "scan.nii.gz"
    assert error["what"].startswith("cannot be read as a NIfTI")
    assert "Export or copy it again" in error["remedy"]
    assert str(client.inside.store.root) not in answer.text
    assert list(client.inside.store.uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"phrases": []}, "phrases"),
        ({}, "phrases"),
        ({"phrases": ["x"], "threshold": 2}, "threshold"),
        ({"phrases": ["x", "X"]}, "phrases"),
    ],
)
def test_requests_of_another_form_name_the_field(client, body, where):
    upload = send(client, png(half_bright()))
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["where"].startswith(where)


def test_health_and_metrics_are_told(client):
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").status_code == 200
    send(client, png(half_bright()))
    metrics = client.get("/metrics").text
    assert 'vesalius_requests_total{method="POST",route="/api/uploads",status="201"} 1.0' in metrics
    assert "vesalius_uploads 1.0" in metrics


def test_answers_do_not_wait_for_acknowledgements(tmp_path):
    """A connection through the service's own socket sends at once; without that, each answer takes 40 ms more."""
    seen = asyncio.Queue()

    async def connect() -> int:
        with bound(ServeSettings(store=tmp_path, port=0)) as listening:
            server = await asyncio.start_server(lambda _, writer: seen.put_nowait(writer), sock=listening)
            _, writer = await asyncio.open_connection(*listening.getsockname())
            accepted = await seen.get()
            option = accepted.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for each in (accepted, writer):
                each.close()
            server.close()
            return option

    assert asyncio.run(connect()) == 1


def test_a_message_is_cut_before_its_remedy_and_not_within_brackets():
    error = from_error(ImageError("a.png: is 3 (or 4; see b) pixels wide; send a larger one."), {})
    refusal = error.refusal
    assert (refusal.where, refusal.what) == ("a.png", "is 3 (or 4; see b) pixels wide")
    assert refusal.remedy == "Send a larger one."
