"""What a naming head is asked of every image while it trains: which labels, and which captions, are true of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.models.text_cache import TextCache
from vesalius.prompts.anatomy import (
    MODALITIES,
    ORGANS,
    PLANES,
    PROTOCOL_MODALITY,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    phrases_of,
)
from vesalius.prompts.anatomy_captions import CaptionMix, draw_caption
from vesalius.prompts.anatomy_wording import write_captions
from vesalius.prompts.entailment import match_statements

SETS = ("stations", "organs")
"""Questions with any number of right answers."""


@dataclass(frozen=True, eq=False)
class Question:
    """One question with L answers, of N images."""

    name: str
    vectors: Tensor
    """Unit vectors of W wordings of each answer, [L, W, E]; 0 where an answer has fewer."""
    true: Tensor
    """[N, L], bool."""
    known: Tensor
    """[N, L], bool."""

    def draw_vectors(self, generator: torch.Generator) -> Tensor:
        """A unit vector an answer, from a random mixture of its wordings, so that no wording is learnt by heart."""
        mixture = torch.rand(self.vectors.shape[:2], generator=generator)
        return F.normalize(torch.einsum("lw,lwe->le", mixture, self.vectors), dim=1)


def ask_questions(texts: TextCache, labels: Sequence[AnatomyLabel]) -> list[Question]:
    """Modality, protocol, plane, stations and organs.

    Args:
        texts: Tells the answers' vectors.
        labels: What N images show.
    """
    questions = []
    for name, answers in _answers().items():
        rows = [texts.encode(wordings).embedding for _, wordings in answers]
        vectors = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).cpu()
        found = match_statements(labels, [statement for statement, _ in answers])
        questions.append(Question(name, vectors, torch.from_numpy(found.true), torch.from_numpy(found.known)))
    return questions


def _answers() -> Mapping[str, list[tuple[Statement, tuple[str, ...]]]]:
    """Question -> its answers, each with its phrases and every caption that says just that."""
    said: dict[str, dict[str, Statement]] = {
        "modality": {name: Statement(name) for name in MODALITIES},
        "protocol": {name: Statement(PROTOCOL_MODALITY, name) for name in PROTOCOLS},
        "plane": {name: Statement(plane=name) for name in PLANES},
        "stations": {name: Statement(stations=frozenset({name})) for name in STATIONS},
        "organs": {name: Statement(organs=frozenset({name})) for name in ORGANS},
    }
    return {
        question: [
            (statement, (*phrases_of(question.removesuffix("s"))[name], *write_captions(statement)))
            for name, statement in answers.items()
        ]
        for question, answers in said.items()
    }


@dataclass(frozen=True, eq=False)
class CaptionBank:
    """Captions drawn for every distinct label."""

    vectors: Tensor
    """Unit vectors of T captions, [T, E]."""
    own: Tensor
    """Captions drawn for each of D distinct labels, [D, K]."""
    label_of: Tensor
    """Which of the distinct labels each of N images has, [N]."""
    true: Tensor
    """Caption t is true of label d, [D, T], bool."""
    known: Tensor
    """[D, T], bool."""

    @classmethod
    def draw(
        cls, texts: TextCache, labels: Sequence[AnatomyLabel], mix: CaptionMix, each: int, seed: int
    ) -> "CaptionBank":
        """Draw K = ``each`` captions a distinct label."""
        generator, distinct = np.random.default_rng(seed), list(dict.fromkeys(labels))
        captions = [draw_caption(label, mix, generator) for label in distinct for _ in range(each)]
        places = {label: place for place, label in enumerate(distinct)}
        found = match_statements(distinct, [caption.asserts for caption in captions])
        return cls(
            vectors=texts.encode([caption.text for caption in captions]).embedding.cpu(),
            own=torch.arange(len(captions)).view(len(distinct), each),
            label_of=torch.tensor([places[label] for label in labels]),
            true=torch.from_numpy(found.true),
            known=torch.from_numpy(found.known),
        )

    def choose(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One caption for each of B images.

        Args:
            rows: The images, [B].
            generator: Decides which.

        Returns:
            Vectors [B, E], and whether caption j is true of image i, and whether that is known, [B, B].
        """
        labels = self.label_of[rows]
        turns = torch.randint(self.own.shape[1], (len(rows),), generator=generator)
        chosen = self.own[labels, turns]
        return self.vectors[chosen], self.true[labels][:, chosen], self.known[labels][:, chosen]
