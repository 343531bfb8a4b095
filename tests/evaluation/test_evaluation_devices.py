"""Where models compute while they are measured, and in which numbers."""

import numpy as np
import pytest
import torch

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.slices.dataset import AnatomySlices
from vesalius.errors import ConfigError
from vesalius.evaluation.audit.run import audit
from vesalius.evaluation.naming.contradictions import pair_captions
from vesalius.evaluation.naming.encoding import encode_slices, score_labels
from vesalius.evaluation.report.gallery import choose_examples, draw_gallery
from vesalius.evaluation.segmentation import evaluate
from vesalius.models.inference import (
    PIXELS_AT_ONCE,
    TextCache,
    decode_prompts,
    describe_device,
    encode,
    encode_each,
    group_by_size,
    list_devices,
    place,
)
from vesalius.prompts.anatomy import STATIONS

OTHERS = [each for each in list_devices() if each != "cpu"] or [
    pytest.param("none", marks=pytest.mark.skip(reason="this machine has no device but its CPU"))
]
PLACES = [("cpu", "bf16-mixed"), *((each, "32") for each in OTHERS if isinstance(each, str))]
PICTURE = torch.linspace(0, 1, 3 * 40 * 56).reshape(3, 40, 56)


@pytest.fixture
def pair(build_tiny):
    """The same model twice: to stay on the CPU, and to be moved."""
    return lambda name: (build_tiny(name), build_tiny(name))


@pytest.mark.parametrize("device", OTHERS)
@pytest.mark.parametrize("name", ["pocket", "clipseg", "cris", "unet_d", "biomedclipseg_a", "ensemble_c"])
def test_other_devices_answer_as_the_cpu_does(pair, name, device):
    here, there = (place(model, where) for model, where in zip(pair(name), ("cpu", device), strict=True))
    answers = [
        decode_prompts(each, encode(each, PICTURE[None]), ["a", "b"], TextCache(each), (40, 56))
        for each in (here, there)
    ]
    for ours, theirs in zip(*answers, strict=True):
        assert theirs.logits.device.type == "cpu"
        torch.testing.assert_close(theirs.logits, ours.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("device", "precision"), PLACES)
def test_evaluation_audit_and_pictures_run_wherever_the_model_is(pair, tiny_dataset, device, precision):
    here, there = pair("pocket")
    there, dataset = place(there, device, precision), SegmentationDataset(tiny_dataset, "test")
    ours = evaluate(here, dataset)
    theirs = evaluate(there, dataset, precision=precision)
    assert [row.prompt for row in theirs.rows] == [row.prompt for row in ours.rows]
    exact, rough = (np.array([row.existence for row in each.rows]) for each in (ours, theirs))
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert len(audit(there, dataset, precision=precision).results) == len(audit(here, dataset).results)
    assert draw_gallery(there, dataset, choose_examples(theirs.rows, 1), precision=precision)


@pytest.mark.parametrize(("device", "precision"), PLACES)
def test_naming_is_measured_wherever_the_model_is(pair, tiny_slices, device, precision):
    here, there = pair("biomedclip")
    there, slices = place(there, device, precision), AnatomySlices(tiny_slices, "test")
    ours, theirs = encode_slices(here, slices), encode_slices(there, slices, precision=precision)
    assert theirs.vectors.dtype == torch.float32
    torch.testing.assert_close(theirs.vectors, ours.vectors, rtol=0, atol=0.05)
    assert score_labels(there, theirs, "stations", STATIONS).scores.shape == (3, len(STATIONS))
    assert pair_captions(there, theirs, "stations", STATIONS).true_scores.size


def test_half_precision_computes_otherwise_and_answers_in_full(build_tiny):
    model = build_tiny("clipseg")
    (full,), (half,) = (
        decode_prompts(model, encode(model, PICTURE[None], each), ["a"], TextCache(model), precision=each)
        for each in ("32", "bf16-mixed")
    )
    assert half.logits.dtype == torch.float32
    assert not torch.equal(half.logits, full.logits)


@pytest.mark.slow
def test_on_a_cpu_no_image_depends_on_its_company(build_tiny):
    model, pictures = build_tiny("pocket"), [PICTURE, PICTURE.flip(1), PICTURE[:, :30]]
    for picture, features in encode_each(model, pictures, lambda each: each):
        assert torch.equal(features.embedding, encode(model, picture[None]).embedding)


def test_neighbours_of_one_size_go_together_within_bounds():
    small, other = torch.zeros(3, 2, 2), torch.zeros(3, 2, 3)
    groups = group_by_size([small, small, small, other, small], lambda each: each, 2)
    assert [len(each) for each in groups] == [2, 1, 1, 1]
    large = torch.zeros(1).expand(3, PIXELS_AT_ONCE, 1)
    assert [len(each) for each in group_by_size([large, large], lambda each: each, 16)] == [1, 1]


def test_items_are_read_as_they_are_needed():
    read = []
    groups = group_by_size((read.append(each) or PICTURE for each in range(9)), lambda each: each, 2)
    next(groups)
    assert read == [0, 1]


def test_an_export_stays_where_it_is(build_tiny):
    bare = build_tiny("unet_d")
    for module in bare.modules():
        module._parameters.clear()
    assert place(bare) is bare
    with pytest.raises(ConfigError, match="--precision bf16-mixed: an exported model computes on the CPU"):
        place(bare, precision="bf16-mixed")


def test_the_record_names_device_and_precision():
    assert describe_device(torch.device("cpu"), "32") == {"device": "cpu", "precision": "32"}
