import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

from vesalius.data.annotations import write_target
from vesalius.data.augment import STILL, AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import PromptedSample, PromptMix, TrainingView, ValidationView, collate
from vesalius.errors import ConfigError, PromptError
from vesalius.prompts import find_target, foreign_phrases

OWN = {"", "polyp", "round polyp", "oval polyp", "one pink polyp, located in left of the image"}


@pytest.fixture
def source(tiny_dataset: Path) -> SegmentationDataset:
    return SegmentationDataset(tiny_dataset, "train")


def draw(view: TrainingView, epochs: int = 25) -> list[PromptedSample]:
    examples = []
    for epoch in range(epochs):
        view.epoch = epoch
        examples += [view[index] for index in range(len(view))]
    return examples


def same(first: PromptedSample, second: PromptedSample) -> bool:
    equal = torch.equal(first.image, second.image) and torch.equal(first.mask, second.mask)
    return equal and first.prompt == second.prompt


class TestTrainingView:
    def test_seed_epoch_and_index_decide_an_example(self, source):
        first, again = (TrainingView(source, 24, AugmentConfig(), PromptMix(0.3, 0.3), seed=5) for _ in range(2))
        first.epoch = again.epoch = 3
        for index in (2, 0, 1):
            assert same(first[index], again[index])
            assert same(first[index], first[index])

    def test_epochs_and_seeds_differ(self, source):
        view = TrainingView(source, 24, AugmentConfig(), PromptMix(), seed=5)
        other = TrainingView(source, 24, AugmentConfig(), PromptMix(), seed=6)
        before = view[0]
        view.epoch = 1
        assert not torch.equal(before.image, view[0].image)
        assert not torch.equal(before.image, other[0].image)

    def test_a_number_of_views_take_turns_while_prompts_are_always_new(self, source):
        view = TrainingView(source, 24, AugmentConfig(), PromptMix(), seed=5, cached_augmentations=3)
        turns = draw(view, epochs=9)[0 :: len(source)]
        assert torch.equal(turns[1].image, turns[7].image)
        assert torch.equal(turns[1].mask, turns[4].mask)
        assert len({turn.image.sum().item() for turn in turns}) == 3
        assert len({turn.prompt for turn in turns[0::3]}) > 1
        assert list(view.picture_numbers) == [0, 1, 2]

    def test_pictures_are_the_same_with_turns_as_without(self, source):
        fresh, turns = (
            TrainingView(source, 24, AugmentConfig(), PromptMix(0.3, 0.3), cached_augmentations=k) for k in (0, 2)
        )
        assert all(same(a, b) for a, b in zip(draw(fresh, epochs=2), draw(turns, epochs=2), strict=True))
        assert not fresh.picture_numbers

    def test_prompts_flip_with_the_picture_that_is_shown(self, write_dataset):
        prompts = {"p1": "polyp in left of the image"}
        source = SegmentationDataset(write_dataset("kvasir_polyp", prompts=prompts), "train")
        view = TrainingView(source, 24, replace(STILL, horizontal_flip=0.5), PromptMix(), cached_augmentations=2)
        plain = TrainingView(source, 24, STILL, PromptMix())
        for epoch in range(6):
            view.epoch = epoch
            for index in range(len(view)):
                turned = not torch.allclose(view[index].image, plain[index].image, atol=1e-5)
                assert view[index].prompt == f"polyp in {'right' if turned else 'left'} of the image"

    def test_torchs_own_random_numbers_are_left_alone(self, source):
        state = torch.get_rng_state()
        TrainingView(source, 24, AugmentConfig(), PromptMix(0.3, 0.3))[0]
        assert torch.equal(state, torch.get_rng_state())

    def test_images_are_square_and_in_0_to_1(self, source):
        for example in draw(TrainingView(source, 24, AugmentConfig(), PromptMix()), epochs=3):
            assert example.image.shape == (3, 24, 24)
            assert example.mask.shape == (1, 24, 24)
            assert example.image.min() >= 0
            assert example.image.max() <= 1

    @pytest.mark.slow
    def test_without_a_mix_prompts_are_the_records_own_and_all_of_them_come(self, source):
        examples = draw(TrainingView(source, 8, STILL, PromptMix()))
        assert {example.prompt for example in examples} == OWN
        assert all(example.mask.any() for example in examples)

    def test_paraphrases_keep_the_mask(self, source):
        examples = draw(TrainingView(source, 8, STILL, PromptMix(paraphrases=1)))
        phrases = {example.prompt for example in examples}
        assert phrases <= set(chain.from_iterable(find_target("polyp").wordings))
        assert all(phrases & set(group) for group in find_target("polyp").wordings)
        assert all(example.mask.any() for example in examples)

    def test_absent_prompts_empty_the_mask(self, source):
        examples = draw(TrainingView(source, 8, STILL, PromptMix(absent=1)))
        assert {example.prompt for example in examples} <= set(chain.from_iterable(foreign_phrases("polyp")))
        assert not any(example.mask.any() for example in examples)

    @pytest.mark.slow
    def test_the_mix_is_kept_on_average(self, source):
        examples = draw(TrainingView(source, 8, STILL, PromptMix(paraphrases=0.3, absent=0.2)), epochs=100)
        absent = sum(not example.mask.any() for example in examples) / len(examples)
        own = sum(example.prompt in OWN for example in examples) / len(examples)
        # Four standard deviations of 400 draws; "polyp" is also a paraphrase.
        assert absent == pytest.approx(0.2, abs=0.08)
        assert own == pytest.approx(0.5 + 0.3 / len(find_target("polyp").phrases), abs=0.1)

    def test_prompts_flip_with_the_image(self, write_dataset):
        prompts = {"p1": "polyp in top left of the image"}
        source = SegmentationDataset(write_dataset("kvasir_polyp", prompts=prompts), "train")
        plain = TrainingView(source, 24, STILL, PromptMix())[0]
        turned = TrainingView(source, 24, replace(STILL, horizontal_flip=1, vertical_flip=1), PromptMix())[0]
        assert plain.prompt == "polyp in top left of the image"
        assert turned.prompt == "polyp in bottom right of the image"
        torch.testing.assert_close(turned.image, plain.image.flip(1, 2))
        assert torch.equal(turned.mask, plain.mask.flip(1, 2))

    def test_a_mix_for_an_unknown_target_has_no_effect_and_says_so(self, write_dataset):
        source = SegmentationDataset(write_dataset("my_own"), "train")
        with pytest.warns(UserWarning, match="my_own: paraphrases and absent have no effect"):
            view = TrainingView(source, 8, STILL, PromptMix(paraphrases=0.5, absent=0.5))
        assert {example.prompt for example in draw(view, epochs=5)} <= OWN

    def test_records_of_several_targets_are_asked_for_their_own(self, write_dataset):
        """And never told that what another record outlines on the same image is not there."""
        root = write_dataset("abdomen")
        rows = json.loads((root / "anns/train.json").read_text())
        rows[0]["target"], rows[1]["target"] = "liver", "spleen"
        rows[1]["img_name"] = rows[0]["img_name"]
        rows[2] |= {"target": "stomach", "absent": True, "img_name": rows[0]["img_name"]}
        rows[3]["target"] = "bicycle"
        (root / "anns/train.json").write_text(json.dumps(rows))
        source = SegmentationDataset(root, "train")
        named = TrainingView(source, 24, STILL, PromptMix(paraphrases=1))
        assert {named.draw_prompt(0)[0] for named.epoch in range(60)} <= {*chain(*find_target("liver").wordings)}
        assert {named.draw_prompt(1)[0] for named.epoch in range(60)} <= {*chain(*find_target("spleen").wordings)}
        assert {named.draw_prompt(3)[0] for named.epoch in range(60)} <= OWN
        other = TrainingView(source, 24, STILL, PromptMix(absent=1))
        asked = {other.draw_prompt(0)[0] for other.epoch in range(600)}
        assert not asked & {*chain(*find_target("spleen").wordings)}
        assert asked <= {*chain(*foreign_phrases("liver"))}
        assert other.draw_prompt(3)[1]

    def test_nothing_is_said_where_the_data_ask_for_absent_things_themselves(self, write_dataset):
        root = write_dataset("ulcers")
        write_target(root, "bicycle")
        source = SegmentationDataset(root, "train")
        with pytest.warns(UserWarning, match="on 4 of 4 records, for the prompt bank has no words for bicycle"):
            TrainingView(source, 24, AugmentConfig(), PromptMix(absent=0.5))
        rows = json.loads((root / "anns/train.json").read_text())
        rows[0]["absent"] = True
        (root / "anns/train.json").write_text(json.dumps(rows))
        TrainingView(SegmentationDataset(root, "train"), 24, AugmentConfig(), PromptMix(absent=0.5))

    def test_the_mix_can_name_the_target_of_an_unknown_folder(self, write_dataset):
        source = SegmentationDataset(write_dataset("my_own"), "train")
        examples = draw(TrainingView(source, 8, STILL, PromptMix(absent=1, target="lungs")))
        assert {example.prompt for example in examples} <= set(chain.from_iterable(foreign_phrases("lungs")))

    def test_a_target_that_the_bank_lacks_is_named(self):
        with pytest.raises(PromptError, match="No target named 'polip'. Did you mean 'polyp'"):
            PromptMix(target="polip")

    def test_a_record_about_something_absent_is_not_put_in_words_for_the_target(self, source):
        view = TrainingView(source, 8, STILL, PromptMix(paraphrases=1))
        source.records = [replace(record, absent=True, prompts={"p1": "lungs"}) for record in source.records]
        assert {example.prompt for example in draw(view)} == {"lungs"}


class TestValidationView:
    def test_images_are_only_resized(self, source):
        view = ValidationView(source, 24)
        still = TrainingView(source, 24, STILL, PromptMix())
        assert len(view) == len(source)
        for index in range(len(view)):
            torch.testing.assert_close(view[index].image, still[index].image)
            assert torch.equal(view[index].mask, still[index].mask)
            assert same(view[index], view[index])

    def test_families_take_turns_with_their_first_variant(self, source):
        prompts = [ValidationView(source, 8)[index].prompt for index in range(4)]
        assert prompts == ["", "polyp", "round polyp", "one pink polyp, located in left of the image"]

    def test_families_are_counted_for_each_record(self, write_dataset):
        root = write_dataset(val=3)
        rows = json.loads((root / "anns/val.json").read_text())
        rows[1]["prompts"] = {"p0": "", "p10": "ten", "p2": "two"}
        (root / "anns/val.json").write_text(json.dumps(rows))
        view = ValidationView(SegmentationDataset(root, "val"), 8)
        assert view[1].prompt == "two"


def test_a_batch_keeps_the_order_of_its_examples(source):
    examples = [ValidationView(source, 8)[index] for index in range(3)]
    batch = collate(examples)
    assert batch.images.shape == (3, 3, 8, 8)
    assert batch.masks.shape == (3, 1, 8, 8)
    for index, example in enumerate(examples):
        assert same(example, PromptedSample(batch.images[index], batch.masks[index], batch.prompts[index]))


@pytest.mark.parametrize("mix", [{"absent": -0.1}, {"paraphrases": 1.1}, {"absent": 0.6, "paraphrases": 0.6}])
def test_probabilities_of_prompts_that_cannot_be_are_refused(mix):
    with pytest.raises(ConfigError, match="with a sum of 1 at most|absent must be at least 0, got -0.1"):
        PromptMix(**mix)
