"""What a model learnt to outline, and which of its targets a phrase names.

A model that was never trained on "fracture" would still outline something, or deny it with confidence. So a phrase is
first matched to the learnt targets, and one that matches none is answered in words instead of with a mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ModelError, PromptError
from vesalius.models.checkpoint_file import PHRASES, find_checkpoint, read_notes
from vesalius.prompts.bank import KnownTarget, find_target
from vesalius.runtime.contract import Runtime

if TYPE_CHECKING:
    from vesalius.prompts.phrase_vectors import PhraseIndex

NOTES = "targets"
"""Entry of a checkpoint's notes: target of the prompt bank -> ``{"modalities": […], "pictures": n}``."""
UNTOLD = frozenset({"OT", "XC", "SC"})
"""DICOM's codes for pictures of any kind: other, photographs, screen shots."""
SAME_ENCODER = 0.99
"""Minimum cosine of two vectors of one phrase, one of them in 8 bits, if one encoder made both."""
CACHE_SIZE = 1024
"""Phrases whose understanding is kept, since the same phrases are asked of every slice of a series."""
MODALITY_NAMES = {
    "ct": "CT",
    "mr": "MR",
    "us": "ultrasound",
    "xray": "X-rays",
    "endoscopy": "endoscopy",
    "fundus": "fundus photographs",
    "dermoscopy": "dermoscopy",
    "microscopy": "microscopy",
    "photo": "photographs",
}


@dataclass(frozen=True)
class LearntTarget:
    """A target that a model was trained to outline."""

    name: str
    """Name of the target in the prompt bank."""
    modalities: tuple[str, ...]
    """Kinds of pictures it was learnt on: keys of ``MODALITY_NAMES``."""
    pictures: int
    """Number of training pictures that showed it."""

    @property
    def phrase(self) -> str:
        """Plain name of the target."""
        return find_target(self.name).phrases[0]

    @property
    def learnt_on(self) -> list[str]:
        """Plain names of the kinds of pictures it was learnt on."""
        return [MODALITY_NAMES.get(each, each) for each in self.modalities]


@dataclass(frozen=True)
class Understanding:
    """How a phrase was understood."""

    prompt: str
    asked: str | None
    """Phrase that the model is given; None if it learnt nothing of the kind, and is not given any."""
    known: bool = True
    """Whether the model learnt what the phrase names; True for models that do not say what they learnt."""
    expected: bool = True
    """Whether the model learnt it on pictures of this kind."""
    target: str | None = None
    """Plain name of the target, if the phrase names a single one."""
    nearest: tuple[str, ...] = ()
    """Plain names of learnt targets that an unknown phrase resembles, nearest first."""
    remark: str = ""
    """Sentence that the user should read; empty if there is none."""

    @property
    def refusal(self) -> str | None:
        """Why the model is not asked, in words; None if it is asked."""
        if self.asked is not None:
            return None
        return "not expected here" if self.known else "not learnt"

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        told: dict[str, object] = {"prompt": self.prompt, "known": self.known, "expected": self.expected}
        if self.target is not None:
            told["target"] = self.target
        if self.nearest:
            told["nearest"] = list(self.nearest)
        return told | ({"remark": self.remark} if self.remark else {})


class Knowledge:
    """What a model learnt; ``understand`` matches phrases to it.

    Args:
        targets: All learnt targets; if there are none, the model is asked every phrase.
        runtime: Runtime that encodes phrases; None to match by words alone.
    """

    def __init__(self, targets: Sequence[LearntTarget] = (), runtime: Runtime | None = None) -> None:
        self.targets = tuple(targets)
        self._by_phrase = {each.phrase: each for each in targets}
        self._known = [KnownTarget(each.name, frozenset(each.modalities)) for each in targets]
        self._runtime = runtime
        self._index: PhraseIndex | None = None
        self._understood: dict[tuple[str, str | None], Understanding] = {}

    @classmethod
    def read(cls, model: str | Path, runtime: Runtime | None = None) -> "Knowledge":
        """Read the learnt targets from the notes of a checkpoint.

        Args:
            model: A model's name, a checkpoint, a run's folder or an export.
            runtime: Runtime of this model.

        Raises:
            ModelError: If there is no such model, or its notes are damaged.
        """
        path = find_checkpoint(model)
        try:
            return cls(list_targets(read_notes(path)), runtime)
        except (AttributeError, KeyError, TypeError, ValueError, PromptError) as error:
            raise ModelError(f"{path}: what it says of its targets is damaged ({error!r}).") from error

    def understand(self, prompt: str, modality: str | None = None) -> Understanding:
        """Match a phrase to the learnt targets.

        Args:
            prompt: Any phrase.
            modality: DICOM's code for the picture, such as "CT"; None if not known.
        """
        if not self.targets or not prompt.strip():
            return Understanding(prompt, prompt)
        if (prompt, modality) not in self._understood:
            if len(self._understood) >= CACHE_SIZE:
                self._understood.clear()
            self._understood[prompt, modality] = self._match(prompt, modality)
        return self._understood[prompt, modality]

    def _match(self, prompt: str, modality: str | None) -> Understanding:
        if plain := self._by_phrase.get(prompt):  # needs none of the tables below, which take 0.2 s to read
            return self._expect(Understanding(prompt, prompt, target=plain.phrase), plain, modality)
        from vesalius.prompts.targets import resolve  # and the tables that it reads

        self._open_index()
        found = resolve(prompt, self._known, self._index, self._encode if self._index is not None else None)
        if not found.known:
            nearest = tuple(find_target(each).phrases[0] for each in found.nearest)
            return Understanding(prompt, None, known=False, nearest=nearest, remark=found.remark)
        target = next((each for each in self.targets if each.name == found.target), None)
        if target is None:
            return Understanding(prompt, prompt, remark=found.remark)
        asked = target.phrase if found.read_as else prompt  # a misspelt prompt is replaced
        understood = Understanding(prompt, asked, target=target.phrase, remark=found.remark)
        return self._expect(understood, target, modality)

    def _expect(self, understood: Understanding, target: LearntTarget, modality: str | None) -> Understanding:
        """The same, or that the target is not expected on pictures of this modality."""
        known = next(each for each in self._known if each.name == target.name)
        if known.is_expected(None if modality in UNTOLD else modality):
            return understood
        prompt = understood.prompt
        learnt_on = " and ".join(target.learnt_on)
        remark = f"'{prompt}': {target.phrase} was learnt on {learnt_on}, and is not expected on {modality}."
        return Understanding(prompt, None, expected=False, target=target.phrase, remark=remark)

    def _open_index(self) -> None:
        """Read the vectors of all names, if this model's encoder made them; otherwise match by words from now on."""
        if self._runtime is None or self._index is not None:
            return
        from vesalius.prompts.phrase_vectors import PhraseIndex, list_phrases

        index = PhraseIndex.read(PHRASES)
        own = self._encode(list_phrases()[0][1])
        if own.shape == index.vectors[0].shape and own @ index.vectors[0] >= SAME_ENCODER * np.linalg.norm(own):
            self._index = index
        else:
            self._runtime = None

    def _encode(self, phrase: str) -> NDArray[np.float32]:
        assert self._runtime is not None
        vector: NDArray[np.float32] = self._runtime.encode_text([phrase]).vectors[0]
        return vector


def list_targets(notes: Mapping[str, object]) -> list[LearntTarget]:
    """The targets in a checkpoint's notes; none if the notes do not name them."""
    told = notes.get(NOTES, {})
    assert isinstance(told, Mapping)
    return [LearntTarget(name, tuple(each["modalities"]), int(each["pictures"])) for name, each in told.items()]
