import hashlib
from dataclasses import replace

import pytest

from vesalius.errors import ModelError
from vesalius.files import sha256_of
from vesalius.models import public_weights as sources
from vesalius.models.public_weights import WeightSource, record, verify

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
