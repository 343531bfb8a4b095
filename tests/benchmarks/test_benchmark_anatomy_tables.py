"""The paper's experiment: how people are counted, what systems share, and what a stopped run does again."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vesalius.models.encoder import TextFeatures
from vesalius.prompts.anatomy import AnatomyLabel, write_captions

pytestmark = pytest.mark.slow
NAMES = ("anatomy_set", "anatomy_systems", "anatomy_measures", "anatomy_results", "anatomy_tables")
HEAD = AnatomyLabel("MR", "T1", "axial", frozenset({"head"}), frozenset({"brain"}))
CHEST = AnatomyLabel("CT", None, "axial", frozenset({"chest"}), frozenset({"lungs", "heart"}))


@pytest.fixture(scope="module")
def scripts(import_script):
    """The experiment's modules by name."""
    return SimpleNamespace(**{name: import_script("experiments/benchmarks", name) for name in NAMES})


def make_slices(scripts, patients=("a", "b", "c", "d"), counts=(1, 3, 1, 1)):
    """The first half of the people's heads and the others' chests, in two parts."""
    rows = [place for place, count in enumerate(counts) for _ in range(count)]
    views = np.random.default_rng(0).integers(0, 255, (len(rows), 5, 8, 8), np.uint8)
    labels = tuple(HEAD if 2 * place < len(counts) else CHEST for place in rows)
    names = tuple(patients[place] for place in rows)
    return scripts.anatomy_set.PeopleSlices(views, labels, names, names, np.array(rows) % 2)


class TinyStart(nn.Module):
    """Pixels to two numbers; texts by their length."""

    title, learning_rate, batch, steps = "tiny", 0.1, 4, 3
    frozen, encoder_modules = frozenset(), staticmethod(lambda part: [])

    def __init__(self, slices, folder=None):
        super().__init__()
        self.slices, self.seen = slices, []
        self.log_scale = torch.tensor(1.0)

    def begin(self, seed):
        torch.manual_seed(seed)
        self.layer = nn.Linear(64, 2)
        return self

    def encode_images(self, rows, views):
        self.seen.append((rows.tolist(), views.tolist()))
        return self.layer(torch.from_numpy(self.slices.views[rows, views]).float().flatten(1) / 255)

    def encode_text(self, texts):
        return TextFeatures(torch.tensor([[len(text) % 7, 1.0] for text in texts]))


def test_a_person_counts_once_however_many_slices_they_have(scripts):
    people = scripts.anatomy_measures.People(make_slices(scripts))
    mean = people.mean(np.array([1.0, 0, 0, 0, np.nan, 1.0]))
    assert mean.values[0] == pytest.approx(2 / 3)
    assert (mean.people, mean.slices) == (3, 5)
    heads = people.mean(np.ones(6), people.sets["#1 MR"])
    assert (heads.values[0], heads.people) == (1, 2)


def test_differences_are_paired(scripts):
    people = scripts.anatomy_measures.People(make_slices(scripts))
    hits = np.array([0.2, 0, 1, 0, 1, 0])
    same = people.mean(hits + 0.5) - people.mean(hits)
    assert same.interval.low == pytest.approx(0.5)
    assert same.interval.high == pytest.approx(0.5)
    assert people.mean(hits).interval.low < people.mean(hits).interval.high


def test_whoever_is_right_gets_full_marks(scripts):
    measures = scripts.anatomy_measures
    people = measures.People(make_slices(scripts, tuple("abcdefghij"), (1,) * 10))
    answers = {kind: truth[None].astype(float) for kind, truth in people.truth.items()}
    answers |= {f"{kind} win": np.ones((1, 10)) for kind in people.truth}
    found = measures.measure(people, "PMC", answers)
    assert found.measures["organs top-1"].values[0] == 1
    assert found.measures["right station"].values[0] == 1
    worst = measures.measure(people, "PMC", answers | {"stations": -answers["stations"]})
    assert worst.measures["stations top-1"].values[0] == 0
    curve = people.curve("organs", 0, answers["organs"])
    assert curve.tpr[1:].min() == 1


def test_the_commonest_name_is_that_of_the_other_people(scripts):
    people = scripts.anatomy_measures.People(make_slices(scripts, tuple("abcdef"), (1,) * 6))
    scores = scripts.anatomy_measures.guess_commonest(people, "stations")
    assert scores[0, 0].argmax() == 1  # of the others, b shows the head, d and f the chest
    assert scores.shape == (1, 6, 5)


def test_systems_see_the_same_slices_in_the_same_batches(scripts):
    systems, slices = scripts.anatomy_systems, make_slices(scripts)
    by_name, seen = {each.name: each for each in systems.SYSTEMS}, {}
    for name in ("PMC-M", "PMC-MSA"):
        start = TinyStart(slices)
        found = systems.Experiment(start, slices, 3).run(by_name[name], 1, 0)
        seen[name] = start.seen
        assert found["rows"].tolist() == np.flatnonzero(slices.folds == 1).tolist()
        assert found["organs"].shape == (len(found["rows"]), 20)
    batches = {name: [rows for rows, _ in each[:3]] for name, each in seen.items()}
    assert batches["PMC-M"] == batches["PMC-MSA"]
    assert not {row for rows in batches["PMC-M"] for row in rows} & set(np.flatnonzero(slices.folds == 1))
    assert {view for _, views in seen["PMC-M"][:3] for view in views} == {0}
    assert {view for _, views in seen["PMC-MSA"][:3] for view in views} <= {1, 2, 3, 4}


def test_the_other_loss_teaches_something_else_from_the_same_weights(scripts):
    systems, slices = scripts.anatomy_systems, make_slices(scripts)
    ours, other = (
        systems.Experiment(TinyStart(slices), slices, 3).run(each, 1, 0)
        for each in (systems.SYSTEMS[1], systems.MULTI_POSITIVE[0])
    )
    assert systems.MULTI_POSITIVE[0].name == systems.SYSTEMS[1].name
    assert not np.array_equal(ours["organs"], other["organs"])


def test_what_is_done_is_not_done_again(scripts, tmp_path, monkeypatch):
    tables, slices = scripts.anatomy_tables, make_slices(scripts)
    ran = []

    def run(self, system, fold, seed):
        ran.append((system.name, fold))
        rows = np.flatnonzero(slices.folds == fold)
        return {"rows": rows.astype(float), "organs": np.full((len(rows), 20), fold)}

    monkeypatch.setattr(tables, "STARTS", {"vit": TinyStart})
    monkeypatch.setattr(tables.Experiment, "run", run)
    tables.teach("vit", slices, tmp_path, [0, 1], range(1), quick=False)
    assert len(ran) == 2 * len(tables.SYSTEMS)
    tables.answer_path(tmp_path, "vit", tables.SYSTEMS[3], 1, 0).unlink()
    assert not tables.is_done(tmp_path, "vit", tables.SYSTEMS[3], 0, [0, 1])
    del ran[:]
    tables.teach("vit", slices, tmp_path, [0, 1], range(1), quick=False)
    assert ran == [(tables.SYSTEMS[3].name, 1)]
    answers = tables.read_answers(tmp_path, "vit", tables.SYSTEMS[0], [0, 1], [0])
    assert answers["organs"][0, :, 0].tolist() == slices.folds.tolist()


def test_the_verdict_asks_for_the_order_and_for_its_intervals(scripts):
    drawn, verdict = scripts.anatomy_measures.Drawn, scripts.anatomy_results._verdict
    sure, unsure = np.full(101, 0.1), np.linspace(-0.1, 0.3, 101)
    unsure[0] = 0.1
    assert verdict([drawn(sure, 9, 9)] * 2) == "yes"
    assert verdict([drawn(sure, 9, 9), drawn(unsure, 9, 9)]) == "seen; 1 of 2 beyond chance"
    assert verdict([drawn(sure, 9, 9), drawn(-unsure, 9, 9)]) == "not seen"
    assert verdict([drawn(sure, 9, 9), drawn(-sure, 9, 9)]).startswith("no")


def test_the_small_vocabulary_has_all_that_is_said_and_refuses_the_rest(scripts):
    systems = scripts.anatomy_systems
    tokenizer = systems.SmallTokenizer(systems.all_texts())
    said = replace(CHEST.known, stations=frozenset({"upper limb", "pelvis"}))
    tokens = tokenizer(write_captions(said))
    assert len(tokenizer.ids) < 1000
    assert (tokens.input_ids.argmax(1) == tokens.attention_mask.sum(1) - 1).all()
    with pytest.raises(ValueError, match="never said before"):
        tokenizer(["a bicycle"])


def test_captions_without_language_augmentation_are_true_of_more_slices(scripts):
    slices = make_slices(scripts)
    share = scripts.anatomy_systems.count_true_others(slices, "pmc_m", 4)
    assert 0.2 < share < 0.8


def test_views_begin_with_the_plain_one(scripts):
    rgb = torch.rand(32, 32, 1).expand(-1, -1, 3)
    views = scripts.anatomy_set.draw_views(rgb, 3)
    assert views.shape == (5, 160, 160)
    assert np.array_equal(views, scripts.anatomy_set.draw_views(rgb, 3))
    pixels = scripts.anatomy_set.as_pixels(views[:1])
    assert pixels.shape == (1, 3, 160, 160)
    assert abs(float(pixels.mean() - rgb.mean())) < 0.02
