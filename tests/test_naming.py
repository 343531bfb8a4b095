"""Phrases that name, and their vectors; the labeller itself is tested in tests/naming/."""

import torch

from vesalius.models.clip import phrase_vectors


def test_phrase_vectors_are_unit_means(build_tiny):
    model = build_tiny("pocket")
    vectors = phrase_vectors(model, {"a": ("one phrase", "another"), "b": ("a third",)})
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    mean = model.encode_text(["one phrase", "another"]).embedding.mean(0)
    torch.testing.assert_close(vectors[0], mean / mean.norm())
