import numpy as np
import pytest

from vesalius.console import progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import DataError
from vesalius.predict import Predictor
from vesalius.prompts import foreign_phrases


@pytest.fixture(scope="module")
def paraphrases(import_script):
    return import_script("experiments/benchmarks", "paraphrases")


@pytest.fixture
def make(paraphrases):
    def make(*, unseen: list[list[float]], marked: list[list[float]], title: str = "Set"):
        foreign = ("lungs", "brain")[: len(marked[0])]
        known, present = np.array([0.8, 0.6, 1.0]), np.array([True, True, False])
        return paraphrases.Heard(
            title, "polyp", "test", ("is it", "that bump"), foreign, present, known, np.array(unseen), np.array(marked)
        )

    return make


def test_images_without_the_target_do_not_count_for_wordings(make):
    heard = make(unseen=[[0.8, 0.4], [0.6, 0.2], [0.0, 0.0]], marked=[[0.0], [0.0], [0.0]])
    assert heard.by_wording.tolist() == pytest.approx([0.7, 0.3])
    assert (heard.difference.value, heard.difference.n) == (pytest.approx(-0.2), 2)


def test_unmarked_is_under_one_percent(make):
    heard = make(unseen=[[0, 0]] * 3, marked=[[0.0, 0.01], [0.009, 0.5], [0.02, 0.0]])
    assert heard.unmarked == {"lungs": pytest.approx(2 / 3), "brain": pytest.approx(1 / 3)}


def test_the_page_names_the_worst_wording_and_what_is_marked_although_absent(paraphrases, make):
    one = make(unseen=[[0.8, 0.4]] * 3, marked=[[0.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    other = make(unseen=[[0.8, 0.6]] * 3, marked=[[0.0]] * 3, title="Other")
    page = paraphrases.page([one, other])
    assert "| Set | test | 2 | 0.700 | 0.600 | -0.100 [" in page
    assert "| that bump | 0.400 |" in page
    assert page.index("| that bump | 0.400 | 0.600 |") < page.index("| is it | 0.800 | 0.800 |")
    assert "Of 3 pairs of a data set and such a name\n2 do on every image." in page
    assert "| Set | 3 | brain | 66.7% |" in page
    assert "| Other | 3 |" not in page
    assert "There are no others." in paraphrases.page([other])


@pytest.mark.slow
def test_a_model_is_asked_everything_about_every_image(paraphrases, tiny_dataset, build_tiny):
    dataset = SegmentationDataset(tiny_dataset, "test")
    with progress_bar() as bar:
        heard = paraphrases.listen(Predictor(build_tiny("pocket")), dataset, ["bump", "lump"], [0, 1], bar)
    assert (heard.title, heard.target, heard.split) == ("Kvasir-SEG", "polyp", "test")
    assert heard.foreign == foreign_phrases("polyp")[1]
    assert (heard.known.shape, heard.unseen.shape) == ((2,), (2, 2))
    assert heard.marked.shape == (2, len(heard.foreign))


def test_a_folder_of_an_unknown_target_is_named(paraphrases, write_dataset):
    with pytest.raises(DataError, match="ellipses: the catalog has no target"):
        paraphrases.target_of(SegmentationDataset(write_dataset(), "test"))
