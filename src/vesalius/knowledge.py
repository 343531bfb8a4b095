"""What a model learnt to outline, and which of its targets a phrase names.

A model that was never trained on "fracture" would still outline something, or deny it with confidence. So a phrase is
first matched to the learnt targets, and one that matches none is answered in words instead of with a mask. A word for
a family of targets ("tumour") is answered by the member that most probably is there, which takes a look at the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ModelError, PromptError, join_all
from vesalius.models.checkpoint_file import PHRASES, find_checkpoint, read_notes
from vesalius.prompts.bank import KnownTarget, find_target
from vesalius.prompts.modalities import UNTOLD, modalities
from vesalius.prompts.phrase_vectors import PhraseIndex, list_phrases, to_unit
from vesalius.prompts.user_prompts import check_prompt_text
from vesalius.runtime.contract import Floats, Runtime

if TYPE_CHECKING:
    from vesalius.prompts.targets import Resolution

NOTES = "targets"
"""Entry of a checkpoint's notes: target of the prompt bank -> ``{"modalities": […], "pictures": n}``."""
ANY_KIND = UNTOLD | {"XC"}
"""DICOM's codes for pictures of any kind; cameras, too, take wounds as well as what an endoscope or a retina shows."""
SAME_ENCODER = 0.99
"""Minimum cosine of two vectors of one phrase, one of them in 8 bits, if one encoder made both."""
CACHE_SIZE = 1024
"""Phrases whose understanding is kept, since the same phrases are asked of every slice of a series."""
LOOKS = {
    "a CT": ("CT",),
    "an MR image": ("MR",),
    "an X-ray": ("X-ray",),
    "an ultrasound image": ("ultrasound",),
    "a picture in colour": ("endoscopy", "fundus", "photograph", "microscopy"),
}
"""What pictures look like -> labels of modalities that look so. Those in colour are not told apart: of sets that naming
never learnt, some are taken for one another."""
MIN_LIKENESS = 0.7
"""Probability from which pixels tell the kind of a picture; chosen on validation pictures of all targets."""
PRESENT = 0.5
"""Existence above which something is said to be there."""


@dataclass(frozen=True)
class LearntTarget:
    """A target that a model was trained to outline."""

    name: str
    """Name of the target in the prompt bank."""
    modalities: tuple[str, ...]
    """Kinds of pictures it was learnt on: keys of `vesalius.prompts.modalities`."""
    pictures: int
    """Number of training pictures that showed it."""

    @property
    def phrase(self) -> str:
        """Plain name of the target."""
        return find_target(self.name).phrases[0]

    @property
    def learnt_on(self) -> list[str]:
        """Plain names of the kinds of pictures it was learnt on."""
        return [modalities()[each].pictures if each in modalities() else each for each in self.modalities]


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
    """Plain name of the target, if the phrase names a single one, or is answered by one."""
    family: str | None = None
    """Plain name of the family of targets that it names, such as "tumour"; None if it names none."""
    candidates: tuple[str, ...] = ()
    """Plain names of the family's members of which `Knowledge.decide` is still to choose one; then it is empty."""
    considered: tuple[tuple[str, float], ...] = ()
    """Members among which it chose, with the existence of each, 0 to 1, the most probable first."""
    nearest: tuple[str, ...] = ()
    """Plain names of learnt targets that an unknown phrase resembles, nearest first."""
    remark: str = ""
    """Sentence that the user should read; empty if there is none."""

    @property
    def refusal(self) -> str | None:
        """Why the model is not asked: "not learnt", "not expected here" or "a denial"; None if it is asked."""
        if self.asked is not None or self.candidates:
            return None
        if not self.known:
            return "not learnt"
        return "a denial" if self.expected else "not expected here"

    @property
    def answer(self) -> str:
        """Whether the model is asked: "asked", or the refusal."""
        return self.refusal or "asked"

    @property
    def told_existence(self) -> str:
        """Existence of each member of the family that was looked for: "breast tumour 0.93, liver tumour 0.03"."""
        return ", ".join(f"{name} {existence:.2f}" for name, existence in self.considered)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        told: dict[str, object] = {"prompt": self.prompt, "known": self.known, "expected": self.expected}
        if self.target is not None:
            told["target"] = self.target
        if self.family is not None:
            told["family"] = self.family
        if self.considered:
            told["considered"] = dict(self.considered)
        if self.nearest:
            told["nearest"] = list(self.nearest)
        return told | ({"remark": self.remark} if self.remark else {})


def list_candidates(understood: Iterable[Understanding]) -> list[str]:
    """Plain names of all targets that are still to be chosen from, each once."""
    return list(dict.fromkeys(name for each in understood for name in each.candidates))


class Knowledge:
    """What a model learnt; ``understand`` matches phrases to it.

    Args:
        targets: All learnt targets; if there are none, the model is asked every phrase.
        runtime: Runtime that encodes phrases; None to match by words alone.
    """

    def __init__(self, targets: Sequence[LearntTarget] = (), runtime: Runtime | None = None) -> None:
        self.targets = tuple(targets)
        self._by_phrase = {each.phrase: each for each in targets}
        self._known = {each.name: KnownTarget(each.name, frozenset(each.modalities)) for each in targets}
        self._runtime = runtime
        self._by_words = runtime is None
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
            return cls(parse_learnt_targets(read_notes(path)), runtime)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError, PromptError) as error:
            raise ModelError(f"{path}: what it says of its targets is damaged ({error!r}).") from error

    def understand(self, prompt: str, modality: str | None = None) -> Understanding:
        """Match a phrase to the learnt targets.

        Args:
            prompt: Any phrase.
            modality: DICOM's code for the picture, such as "CT"; None if not known.

        Returns:
            How it was understood. A word for a family of targets may still have ``candidates``; see `decide`.

        Raises:
            PromptError: If it is no text.
        """
        check_prompt_text(prompt)
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
        found = resolve(prompt, [*self._known.values()], self._index, self._encode if self._index is not None else None)
        if not found.known:
            nearest = tuple(find_target(each).phrases[0] for each in found.nearest)
            return Understanding(prompt, None, known=False, nearest=nearest, remark=found.remark)
        if found.kind == "denial":
            return Understanding(prompt, None, remark=found.remark)
        target = next((each for each in self.targets if each.name == found.target), None)
        if found.members and (self._runtime is None or self._runtime.judges_existence):
            return self._match_family(found, modality)
        if target is None:
            return Understanding(prompt, prompt, remark=found.remark)
        asked = target.phrase if found.read_as else prompt  # a misspelt prompt is replaced
        understood = Understanding(prompt, asked, target=target.phrase, remark=found.remark)
        return self._expect(understood, target, modality)

    def _expect(self, understood: Understanding, target: LearntTarget, modality: str | None) -> Understanding:
        """The same, or that the target is not expected on pictures of this modality."""
        if self._is_expected(target, modality):
            return understood
        prompt = understood.prompt
        learnt_on = " and ".join(target.learnt_on)
        remark = f"'{prompt}': {target.phrase} was learnt on {learnt_on}, and is not expected on {modality}."
        return Understanding(prompt, None, expected=False, target=target.phrase, remark=remark)

    def _is_expected(self, target: LearntTarget, modality: str | None) -> bool:
        return self._known[target.name].is_expected(modality if tells_kind(modality) else None)

    def _match_family(self, found: "Resolution", modality: str | None) -> Understanding:
        """A word for several targets: those that are expected, one of which is still to be chosen."""
        learnt = [each for each in self.targets if each.name in found.members]
        expected = [each for each in learnt if self._is_expected(each, modality)]
        note = f"'{found.qualifier}' is not told apart" if found.qualifier else ""
        understood = Understanding(found.phrase, None, family=found.family or found.phrase.strip(), remark=note)
        if not expected:
            return _refuse_family(understood, learnt, str(modality))
        return replace(understood, candidates=tuple(each.phrase for each in expected))

    def narrow(self, understood: Understanding, looks_like: str | None) -> Understanding:
        """Leave out candidates that were not learnt on pictures of this kind, where only pixels tell the kind.

        Args:
            understood: From `understand`.
            looks_like: One of ``LOOKS``, see `look`; None if not known.
        """
        members = [self._by_phrase[name] for name in understood.candidates]
        if looks_like is None or not members:
            return understood
        kinds = {kind for kind, row in modalities().items() if row.label in LOOKS[looks_like]}
        expected = tuple(each.phrase for each in members if not each.modalities or kinds & set(each.modalities))
        if not expected:
            return _refuse_family(understood, members, f"what looks like {looks_like}")
        return replace(understood, candidates=expected)

    @staticmethod
    def decide(understood: Understanding, existence: Mapping[str, float]) -> Understanding:
        """Choose the member that answers for its family: the one that most probably is there.

        Args:
            understood: From `understand`; returned as it is if it has no candidates.
            existence: Plain name of each candidate -> existence in the image, 0 to 1.

        Returns:
            The phrase with its target; without one if none is there: then the most probable is asked, which marks
            nothing.
        """
        if not understood.candidates:
            return understood
        order = sorted(((name, existence[name]) for name in understood.candidates), key=lambda each: -each[1])
        best, probability = order[0]
        target = best if probability > PRESENT else None
        looked = join_all(name for name, _ in order)
        told = f"understood as {best}" if target else f"no learnt {understood.family} is found; looked for {looked}"
        remark = f"'{understood.prompt}': {'; '.join(filter(None, (told, understood.remark)))}."
        return replace(understood, asked=best, target=target, candidates=(), considered=tuple(order), remark=remark)

    def look(self, vectors: Floats) -> str | None:
        """Tell what kind of pictures these are by their pixels.

        Args:
            vectors: The model's vectors of B pictures of one kind, [B, E].

        Returns:
            One of ``LOOKS``; None where the model is not sure, or its image and text vectors share no space.
        """
        if self._runtime is None or not self._runtime.reads_text or not vectors.shape[1]:
            return None
        from vesalius.prompts.anatomy import phrases_of

        labels = [label for alike in LOOKS.values() for label in alike]
        phrases = [phrases_of("modality")[label] for label in labels]
        named = np.stack([self._runtime.encode_text(each).vectors.mean(0) for each in phrases])
        if named.shape[1] != vectors.shape[1]:
            return None
        cosines = to_unit(vectors) @ to_unit(named).T
        odds = np.exp(self._runtime.logit_scale * (cosines - cosines.max(1, keepdims=True)))
        shares = dict(zip(labels, (odds / odds.sum(1, keepdims=True)).mean(0).tolist(), strict=True))
        likeness = {looks_like: sum(shares[label] for label in alike) for looks_like, alike in LOOKS.items()}
        best = max(likeness, key=lambda each: likeness[each])
        return best if likeness[best] >= MIN_LIKENESS else None

    def _open_index(self) -> None:
        """Read the vectors of all names, if this model's encoder made them; otherwise match by words from now on."""
        if self._by_words or self._index is not None:
            return
        index = PhraseIndex.read(PHRASES)
        own = self._encode(list_phrases()[0][1])
        if own.shape == index.vectors[0].shape and own @ index.vectors[0] >= SAME_ENCODER * np.linalg.norm(own):
            self._index = index
        else:
            self._by_words = True

    def _encode(self, phrase: str) -> NDArray[np.float32]:
        assert self._runtime is not None
        vector: NDArray[np.float32] = self._runtime.encode_text([phrase]).vectors[0]
        return vector


def tells_kind(modality: str | None) -> bool:
    """Whether DICOM's code of a modality says what kind of picture it is."""
    return modality is not None and modality not in ANY_KIND


def _refuse_family(understood: Understanding, learnt: Iterable[LearntTarget], where: str) -> Understanding:
    members = ", ".join(f"{each.phrase} ({' and '.join(each.learnt_on)})" for each in learnt)
    remark = f"'{understood.prompt}': no learnt {understood.family} is expected on {where}; learnt: {members}."
    return replace(understood, asked=None, expected=False, candidates=(), remark=remark)


def parse_learnt_targets(notes: Mapping[str, object]) -> list[LearntTarget]:
    """The targets in a checkpoint's notes; none if the notes do not name them.

    Raises:
        AttributeError, KeyError, OverflowError, TypeError, ValueError: If they are damaged.
    """
    told = notes.get(NOTES, {})
    if not isinstance(told, Mapping):
        raise TypeError(f"expected an object, got {told!r}")
    return [LearntTarget(name, tuple(each["modalities"]), int(each["pictures"])) for name, each in told.items()]
