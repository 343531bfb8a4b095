"""Train pocket's existence score by itself.

It needs no more of an image than its deepest map and the means of all maps. So some changed views of each picture are
encoded once and then asked dozens of questions each, about what is there and about what is not; while a decoder trains,
a picture is asked one question an epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.data.views import PromptMix, TrainingView
from vesalius.models.efficientnet import global_averages
from vesalius.models.existence import Existence
from vesalius.models.pocket import PocketSegmenter
from vesalius.models.text_cache import TextCache
from vesalius.training.ranges import check_at_least, check_positive

QUESTIONS = PromptMix(paraphrases=0.35, absent=0.5)
"""What a view should ask: half about something absent."""


@dataclass(frozen=True)
class ExistenceConfig:
    """Settings of ``fit_existence``."""

    steps: int = 3000
    """Of AdamW."""
    questions: int = 128
    """Of a step."""
    learning_rate: float = 1e-3
    """AdamW's largest step size in a one-cycle schedule."""
    text_noise: float = 0.1
    """As ``TrainConfig.text_noise``."""
    fairness: float = 0.7
    """A set of n pictures is asked in proportion to n to this power."""
    seed: int = 0
    """Decides untrained weights, which pictures are asked, and the noise."""

    def __post_init__(self) -> None:
        check_positive(self, "steps", "questions", "learning_rate")
        check_at_least(self, 0, "text_noise", "fairness")


@dataclass(frozen=True)
class Question:
    """Whether a picture shows what a prompt names."""

    deepest: Tensor
    """The picture's deepest map, [C, H, W]."""
    means: Tensor
    """Those of all its maps, [M]."""
    prompt: str
    true: bool


@dataclass(frozen=True)
class Witness:
    """A data set, encoded, that can be asked."""

    view: TrainingView
    """Draws the prompts; its mix decides how many are about something absent."""
    maps: Tensor
    """Deepest maps of N pictures in V views, half precision, [N, V, C, H, W]."""
    means: Tensor
    """Means of all maps, [N, V, M]."""
    shown: Tensor
    """Whether the target shows in them, [N, V]."""

    def ask(self, index: int, turn: int) -> Question:
        """Question ``turn`` about a picture."""
        self.view.turn_to(turn)
        prompt, named = self.view.ask(index)
        number = self.view.number
        return Question(
            self.maps[index, number], self.means[index, number], prompt, named and bool(self.shown[index, number])
        )

    def ask_all(self, turns: int) -> list[Question]:
        """So many questions about every picture."""
        return [self.ask(index, turn) for index in range(len(self.maps)) for turn in range(turns)]


@torch.no_grad()
def encode_views(model: PocketSegmenter, view: TrainingView, on_image: Callable[[], None] = lambda: None) -> Witness:
    """Look at every picture in all of the view's ``views``."""
    maps, means, shown = [], [], []
    for index in range(len(view)):
        images, masks = map(torch.stack, zip(*(view.look(index, number) for number in view.numbers), strict=True))
        taps = model.encode_image(images).taps
        maps.append(taps[-1].half())
        means.append(global_averages(taps))
        shown.append(masks.flatten(1).amax(dim=1) > 0)
        on_image()
    return Witness(view, torch.stack(maps), torch.stack(means), torch.stack(shown))


def fit_existence(
    model: PocketSegmenter,
    witnesses: Sequence[Witness],
    config: ExistenceConfig,
    texts: TextCache | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train ``model.existence`` from nothing; everything else stays as it is.

    Args:
        model: In evaluation mode.
        witnesses: Training data.
        config: Settings.
        texts: The model's, which several runs can share.
        on_step: Called after each, for progress.

    Returns:
        Loss of every step.
    """
    texts, losses = texts or TextCache(model), []
    begin_anew(model, config.seed)
    model.existence.map_norm.learn(each.maps.flatten(0, 1) for each in witnesses)
    model.existence.scene_norm.learn(each.means.flatten(0, 1) for each in witnesses)
    optimizer = torch.optim.AdamW(model.existence.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps)
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)  # of the noise
    for step in range(config.steps):
        odds, true = answer(model, _draw(witnesses, step, config, generator), texts, config.text_noise)
        loss = focal_loss(odds, true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        on_step()
    return losses


def begin_anew(model: PocketSegmenter, seed: int) -> None:
    """Give the model an untrained score: one that a decoder's training taught to say yes does not unlearn it."""
    torch.manual_seed(seed)
    sentence = model.existence.to_condition[0]
    assert isinstance(sentence, torch.nn.Linear)
    model.existence = Existence(model.trunk.channels, sentence.in_features, sentence.out_features)


def focal_loss(odds: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy, each question weighted by how far its answer is from right (Lin et al., ICCV 2017, with γ = 1).

    Most questions are soon easy; what is left are names of things that look alike, "polyp" of a breast tumour.

    Args:
        odds: Log-odds, [B].
        true: 0 or 1, [B].
    """
    loss = F.binary_cross_entropy_with_logits(odds, true, reduction="none")
    return ((1 - torch.exp(-loss.detach())) * loss).mean()


def _draw(
    witnesses: Sequence[Witness], step: int, config: ExistenceConfig, generator: torch.Generator
) -> list[Question]:
    """The questions of a step."""
    weights = torch.tensor([len(each.maps) ** config.fairness for each in witnesses])
    chosen = torch.multinomial(weights, config.questions, replacement=True, generator=generator).tolist()
    asked = []
    for turn, which in enumerate(chosen, step * config.questions):
        index = int(torch.randint(len(witnesses[which].maps), (), generator=generator))
        asked.append(witnesses[which].ask(index, turn))
    return asked


def answer(
    model: PocketSegmenter, asked: Sequence[Question], texts: TextCache, text_noise: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Log-odds that each is true, and whether it is, both [B]."""
    sentences = texts.encode([each.prompt for each in asked]).blur(text_noise).embedding
    deepest = torch.stack([each.deepest for each in asked]).float()
    odds = model.existence(deepest, torch.stack([each.means for each in asked]), sentences)
    return odds, torch.tensor([float(each.true) for each in asked])
