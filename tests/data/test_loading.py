import pytest

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.loading import Batches, Pool, ResumableLoader
from vesalius.data.views import PromptMix, TrainingView
from vesalius.errors import ConfigError


def share(batches: Batches, world: int) -> list[list[list[int]]]:
    """What each of so many processes sees."""
    seen = []
    for rank in range(world):
        batches.share(rank, world)
        assert len(list(batches)) == len(batches)
        seen.append(list(batches))
    return seen


def views(root, count: int = 1) -> list[TrainingView]:
    source = SegmentationDataset(root, "train")
    return [TrainingView(source, 16, AugmentConfig(), PromptMix(0.3, 0.3), seed=seed) for seed in range(count)]


class TestBatches:
    @pytest.mark.parametrize(("count", "size", "drop"), [(10, 4, True), (10, 4, False), (9, 4, False), (3, 4, True)])
    @pytest.mark.parametrize("world", [2, 3])
    def test_processes_share_the_batches_of_one(self, count, size, drop, world):
        batches = Batches(count, size, seed=1, drop_rest=drop)
        seen = share(batches, world)
        together = [sorted(sum(parts, [])) for parts in zip(*seen, strict=True)]
        flat = sum(together, [])
        assert len(flat) == len(set(flat)) == (count // size * size if drop and count >= size else count)
        assert all(part for parts in seen for part in parts)
        batches.share(0, 1)
        if len(batches) == len(together):  # no rest had to join another batch
            assert [sorted(batch) for batch in batches] == together

    def test_more_processes_than_examples_are_refused(self):
        with pytest.raises(ConfigError, match="10 images in batches of 2 cannot be shared by 3 processes; take fewer"):
            Batches(10, 2, seed=0).share(0, 3)

    def test_every_epoch_has_an_order_of_its_own_and_the_same_again(self):
        one, other = Batches(50, 50, seed=4), Batches(50, 50, seed=4)
        ((first,),) = (list(one),)
        one.epoch = other.epoch = 1
        assert list(one) == list(other)
        assert [number - 50 for number in next(iter(one))] != first
        assert sorted(number - 50 for number in next(iter(one))) == sorted(first) == list(range(50))

    def test_without_a_seed_the_order_is_that_of_the_pool(self):
        assert list(Batches(5, 2, seed=None)) == [[0, 1], [2, 3], [4]]


class TestPool:
    def test_an_examples_number_holds_its_epoch_and_place(self, tiny_dataset):
        pool, (first, second) = Pool(views(tiny_dataset, 2)), views(tiny_dataset, 2)
        size = len(first)
        assert len(pool) == 2 * size
        second.set_epoch(3)
        example, expected = pool[3 * len(pool) + size + 1], second[1]
        assert example.prompt == expected.prompt
        assert example.image.equal(expected.image)
        assert not example.image.equal(pool[size + 1].image)


class TestResumableLoader:
    def loader(self, root, workers: int = 0) -> ResumableLoader:
        pool = Pool(views(root))
        return ResumableLoader(pool, Batches(len(pool), 1, seed=0), workers)

    def test_it_goes_on_after_the_last_batch_handed_out(self, tiny_dataset):
        loader, other = self.loader(tiny_dataset), self.loader(tiny_dataset)
        loader.set_epoch(2)
        iterator = iter(loader)
        next(iterator)
        state = loader.state_dict()
        other.load_state_dict(state)
        assert state == {"epoch": 2, "done": 1}
        rest = list(other)
        assert len(rest) == len(loader) - 1
        assert rest[0].images.equal(next(iterator).images)

    def test_after_the_last_batch_comes_the_next_epoch(self, tiny_dataset):
        loader = self.loader(tiny_dataset)
        loader.load_state_dict({"epoch": 2, "done": len(loader)})
        assert (loader.batches.epoch, loader.batches.start) == (3, 0)

    def test_turning_to_the_epoch_that_is_resumed_loses_nothing(self, tiny_dataset):
        loader = self.loader(tiny_dataset)
        loader.load_state_dict({"epoch": 2, "done": 1})
        loader.set_epoch(2)
        assert loader.batches.start == 1
        loader.set_epoch(3)
        assert loader.batches.start == 0

    def test_worker_processes_draw_alike(self, tiny_dataset):
        alone, helped = self.loader(tiny_dataset), self.loader(tiny_dataset, workers=1)
        for loader in (alone, helped):
            loader.set_epoch(5)
        for one, other in zip(alone, helped, strict=True):
            assert one.images.equal(other.images)
            assert one.prompts == other.prompts
