import hashlib
import re
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from vesalius.errors import ModelError
from vesalius.files import sha256_of
from vesalius.models import list_models
from vesalius.models import public_weights as sources
from vesalius.models.foreign import LAYOUTS
from vesalius.models.public_weights import (
    WeightSource,
    find_source,
    locate,
    read_sources,
    record,
    verify,
    weights_folder,
)
from vesalius.models.registry import list_encoders


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("source", read_sources().values(), ids=lambda source: source.name)
def test_every_row_says_what_it_is_and_where_it_comes_from(source):
    assert sum(origin is not None for origin in (source.hub, source.url, source.page)) == 1
    assert (source.hub is None) == (source.revision is None)
    assert (source.address or source.page).startswith("https://")
    assert source.title
    assert source.licence
    assert set(source.models) <= {*list_models(), *list_encoders()}
    assert source.models
    assert source.layout is None or source.layout in LAYOUTS
    assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    assert source.sha256 is None or source.size


@pytest.mark.parametrize("source", read_sources().values(), ids=lambda source: source.name)
def test_every_file_stays_in_a_folder_of_its_own(source, folder):
    assert re.fullmatch(r"[a-z0-9-]+", source.name)
    assert source.file == PurePosixPath(source.file).name
    assert source.path == folder / source.name / source.file


def test_openais_addresses_hold_their_checksums():
    sources = [source for source in read_sources().values() if source.url]
    assert sources
    assert all(source.sha256 in source.url for source in sources)


def test_a_file_of_the_hub_is_asked_for_at_its_revision():
    source = find_source("clipseg-rd64-refined")
    assert source.address == f"https://huggingface.co/{source.hub}/resolve/{source.revision}/model.safetensors"


def test_weights_lie_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("VESALIUS_WEIGHTS", "~/weights")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "weights"
    monkeypatch.setenv("VESALIUS_WEIGHTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "vesalius" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_folder() == tmp_path / ".cache" / "vesalius" / "weights"


def test_a_file_that_is_there_is_located(folder):
    path = folder / "pubmedbert-vocabulary" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("[PAD]\n")
    assert locate("pubmedbert-vocabulary") == path


def test_a_missing_file_is_named_with_its_place_address_size_checksum_and_command(folder):
    source = find_source("biomedclip")
    with pytest.raises(ModelError) as caught:
        locate("biomedclip")
    place = folder / "biomedclip" / source.file
    parts = [str(place), source.address, source.sha256, "747.4 MiB", "vesalius weights fetch biomedclip"]
    assert all(part in str(caught.value) for part in parts)


def test_a_file_without_an_address_is_named_with_the_page_that_leads_to_it(folder):
    with pytest.raises(ModelError, match="Get cris.pt from https://github.com/") as caught:
        locate("cris")
    assert str(folder / "cris" / "cris.pt") in str(caught.value)
    assert "curl" not in str(caught.value)


def test_a_file_that_was_cut_off_is_not_taken(folder):
    path = folder / "clip-rn50" / "RN50.pt"
    path.parent.mkdir()
    path.write_bytes(b"half")
    with pytest.raises(ModelError, match="expected 255827503 bytes, got 4"):
        locate("clip-rn50")


def test_the_closest_name_is_suggested():
    with pytest.raises(ModelError, match="Did you mean 'biomedclip'"):
        find_source("biomed-clip")


WEIGHTS = b"weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
PUBLISHED = WeightSource(
    name="tiny", title="Tiny", file="tiny.bin", models=("clipseg",), licence="MIT", url="https://example.org/tiny.bin",
    size=len(WEIGHTS), sha256=SHA256,
)  # fmt: skip
UNPUBLISHED = replace(PUBLISHED, size=None, sha256=None)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Register a source, with these bytes in its place."""
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))

    def put(source: WeightSource, content: bytes = WEIGHTS) -> WeightSource:
        monkeypatch.setattr(sources, "read_sources", lambda: {source.name: source})
        source.path.parent.mkdir()
        source.path.write_bytes(content)
        return source

    return put


def test_a_file_with_the_published_checksum_is_unchanged(put):
    put(PUBLISHED)
    verdict = verify("tiny")
    assert (verdict.sha256, verdict.expected, verdict.finding) == (SHA256, SHA256, "unchanged")


def test_another_file_in_its_place_is_found(put):
    put(PUBLISHED, b"weightz")
    assert verify("tiny").finding == "changed"


def test_an_unpublished_checksum_is_compared_with_the_recorded_one(put):
    source = put(UNPUBLISHED)
    record(source, sha256_of(source.path), "https://example.org")
    assert verify("tiny").finding == "unchanged"
    source.path.write_bytes(b"edited")
    assert verify("tiny").finding == "changed"


def test_a_published_checksum_goes_before_a_recorded_one(put):
    record(put(PUBLISHED), "0" * 64, "https://example.org")
    assert verify("tiny").finding == "unchanged"


def test_a_file_put_there_by_hand_may_have_nothing_to_compare_with(put):
    put(UNPUBLISHED)
    assert verify("tiny").finding == "nothing to compare with"


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON"])
def test_a_damaged_record_is_named(put, content):
    source = put(UNPUBLISHED)
    (source.path.parent / "tiny.bin.json").write_text(content)
    with pytest.raises(ModelError, match=r"tiny.bin.json: damaged record"):
        verify("tiny")


def test_verifying_what_is_not_here_says_where_it_belongs(put):
    path = put(PUBLISHED).path
    path.unlink()
    with pytest.raises(ModelError, match=f"it belongs at {path}"):
        verify("tiny")
