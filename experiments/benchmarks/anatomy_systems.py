"""The paper's systems: what each is taught with, its training at equal steps, and its scores of people held out.

All systems of a start, a part and a seed begin with the same weights and see the same slices in the same batches; they
differ in the captions, in whether views are changed, and in nothing else.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from anatomy_set import CHANGED, POCKET, PeopleSlices, as_pixels
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

from vesalius.console import progress_bar
from vesalius.evaluation.naming.contradictions import pair_captions
from vesalius.evaluation.naming.encoding import EncodedSlices, score_labels
from vesalius.evaluation.statistics import share
from vesalius.models import build_model
from vesalius.models.clip import ContrastiveEncoder
from vesalius.models.encoder import TextFeatures, VisionLanguageEncoder, resize
from vesalius.models.inference import TextCache
from vesalius.models.registry import LOGIT_SCALE
from vesalius.models.tokenizers import ClipTokenizer, Tokens
from vesalius.models.towers import ClipTextEncoder
from vesalius.prompts.anatomy import (
    CROSS_SECTIONAL,
    MODALITIES,
    ORGANS,
    PAPER_STATIONS,
    PLANES,
    PROTOCOLS,
    STATIONS,
    LabelKind,
    Statement,
    phrases_of,
    write_captions,
)
from vesalius.prompts.anatomy_captions import Caption, CaptionMix, draw_caption, match_statements
from vesalius.training.config import read_recipe
from vesalius.training.contrastive import ContrastiveConfig, match
from vesalius.training.losses import ContrastiveKind, bound_scale, paper_loss, similarity_logits
from vesalius.training.module import build_optimizer

RECIPES = Path(__file__).parents[2] / "recipes" / "anatomy"
WORDINGS = 8
"""Captions of a slice, drawn once, where language augmentation varies them."""
AT_ONCE = 8
"""Slices encoded together."""
LABELS: Mapping[LabelKind, tuple[str, ...]] = {"organs": ORGANS, "stations": PAPER_STATIONS}
PAIR_MEASURES = ("win", "margin", "preference")


@dataclass(frozen=True)
class System:
    """What a system is taught with."""

    name: str
    captions: str | None
    """Recipe of its captions; None is not taught at all."""
    images: str | None
    """Recipe of its views."""
    loss: ContrastiveKind = "paper"


PMC = System("PMC", None, None)
SYSTEMS = (
    PMC,
    System("PMC-M", "pmc_m", "pmc_m"),
    System("PMC-MS", "pmc_ms", "pmc_ms"),
    System("MS + image", "pmc_ms", "pmc_msa"),
    System("MS + language", "pmc_msa", "pmc_ms"),
    System("PMC-MSA", "pmc_msa", "pmc_msa"),
)
MULTI_POSITIVE = tuple(replace(each, loss="unicl") for each in SYSTEMS[1:])
"""The same with a loss that knows that a caption may be true of several slices."""


class CaptionBank:
    """Captions of all slices, drawn once: one a slice where nothing varies, else ``WORDINGS``.

    Args:
        slices: N slices.
        mix: How captions vary.
    """

    def __init__(self, slices: PeopleSlices, mix: CaptionMix) -> None:
        count = WORDINGS if mix.shuffle else 1
        generator = np.random.default_rng(0)
        self.captions = [[draw_caption(label, mix, generator) for _ in range(count)] for label in slices.labels]
        self.count = count

    def pick(self, rows: NDArray[np.intp], generator: np.random.Generator) -> list[Caption]:
        """One caption of each of B slices."""
        which = generator.integers(self.count, size=len(rows))
        return [self.captions[row][place] for row, place in zip(rows, which, strict=True)]


class ImageNetStart:
    """A trunk from ImageNet and MiniLM's sentences, both frozen; only the projection of one into the other trains.

    Args:
        slices: All slices, whose features are kept beside them.
        folder: Where they are kept.
    """

    title = "A frozen trunk from ImageNet (EfficientNet-Lite2, 160 px) and MiniLM; only a projection trains"
    learning_rate = 2e-3
    batch = 64
    steps = 300

    def __init__(self, slices: PeopleSlices, folder: Path) -> None:
        sys.path.append(str(POCKET))
        from start import build_start

        self.model = build_start(image_size=slices.views.shape[-1]).eval().freeze("image", "text")
        self._cache = TextCache(self.model)
        self.features = self._encode(slices, folder / "features.npy")

    def begin(self, seed: int) -> VisionLanguageEncoder:
        """The model with a new projection."""
        torch.manual_seed(seed)
        for layer in self.model.projection.layers:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        return self.model

    def encode_images(self, rows: NDArray[np.intp], views: NDArray[np.intp]) -> Tensor:
        """Unit vectors [B, E]."""
        vectors: Tensor = self.model.projection(self.features[rows, views])
        return vectors

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Unit vectors; each text is encoded once for all systems."""
        return self._cache.encode(texts)

    @property
    def log_scale(self) -> Tensor:
        """Constant."""
        return torch.tensor(LOGIT_SCALE).log()

    @torch.inference_mode()
    def _encode(self, slices: PeopleSlices, path: Path) -> Tensor:
        """Features of all views; a stopped run goes on where the file has none yet."""
        count = slices.views.shape[:2]
        if not path.exists():
            first = self.model.projection.layers[0]
            assert isinstance(first, nn.Linear)
            kept = np.lib.format.open_memmap(path, "w+", np.float32, (*count, first.in_features))
            kept[:] = np.nan
        kept = np.lib.format.open_memmap(path, "r+")
        todo = np.flatnonzero(np.isnan(kept).any((1, 2)))
        with progress_bar() as bar:
            task = bar.add_task("Encoding views", total=len(todo))
            for rows in np.array_split(todo, -(-len(todo) // AT_ONCE)) if len(todo) else ():
                pixels = as_pixels(slices.views[rows].reshape(-1, *slices.views.shape[2:]))
                taps = self.model.encode_frozen(pixels).taps
                kept[rows] = self.model.projection.pool(taps).numpy().reshape(len(rows), *kept.shape[1:])
                bar.advance(task, len(rows))
        return torch.from_numpy(np.array(kept))


class VitStart:
    """A small CLIP, both towers from nothing.

    Args:
        slices: All slices.
        folder: Not needed.
    """

    title = "A small ViT from nothing (96 px, patches of 16, 2 layers, 64 wide; a text tower of that size)"
    learning_rate = 1e-3
    batch = 32
    steps = 300
    size = 96

    def __init__(self, slices: PeopleSlices, folder: Path) -> None:
        shades = torch.from_numpy(np.array(slices.views)).flatten(0, 1)[:, None]
        small = [resize(part.float(), (self.size, self.size)) for part in shades.split(256)]
        self.views = torch.cat(small).round().clamp(0, 255).to(torch.uint8).unflatten(0, (-1, 1 + CHANGED))
        self._tokenizer = SmallTokenizer(all_texts())

    def begin(self, seed: int) -> VisionLanguageEncoder:
        """A new model; of CLIP's vocabulary it has what is ever said, which changes nothing but the time."""
        torch.manual_seed(seed)
        model = build_model("clip_vit_b16", image_size=self.size, width=64, text_width=64, layers=2)
        assert isinstance(model, ContrastiveEncoder)
        assert isinstance(model.text, ClipTextEncoder)
        model.tokenizer = self._tokenizer
        model.text.tokens = nn.Embedding(len(self._tokenizer.ids), 64)
        nn.init.normal_(model.text.tokens.weight, std=0.02)
        self.model = model
        return model

    def encode_images(self, rows: NDArray[np.intp], views: NDArray[np.intp]) -> Tensor:
        """Unit vectors [B, E]."""
        shades = self.views[torch.from_numpy(rows), torch.from_numpy(views)].float() / 255
        return self.model.encode_image(shades.expand(-1, 3, -1, -1)).embedding

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Unit vectors."""
        return self.model.encode_text(texts)

    @property
    def log_scale(self) -> Tensor:
        """Learnt."""
        return self.model.log_scale


class SmallTokenizer:
    """CLIP's byte pairs, numbered anew in the same order: the end token stays the highest.

    Args:
        texts: They hold every word that will be asked for.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._whole = ClipTokenizer()
        self.ids = self._whole(texts).input_ids.unique()

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Ids and mask, [B, 77]."""
        tokens = self._whole(prompts)
        places = torch.searchsorted(self.ids, tokens.input_ids).clamp(max=len(self.ids) - 1)
        if not torch.equal(self.ids[places], tokens.input_ids):
            raise ValueError(f"a word of these was never said before: {list(prompts)[:3]}")
        return Tokens(places, tokens.attention_mask)


def all_texts() -> list[str]:
    """Texts with every word that phrases and captions can hold; CLIP's pieces never reach over two words."""
    texts = [text for kind in ("organ", "station") for phrases in phrases_of(kind).values() for text in phrases]
    texts += [*ORGANS, *STATIONS, *MODALITIES, *PROTOCOLS, *PLANES]
    looks = product((None, *CROSS_SECTIONAL), (None, "axial", "coronal"))
    for (modality, plane), stations, organs in product(looks, range(3), range(3)):
        named = frozenset(STATIONS[:stations]), frozenset(ORGANS[:organs])
        texts += write_captions(Statement(modality, None, plane, *named))
    return texts


Start = ImageNetStart | VitStart
STARTS: Mapping[str, type[Start]] = {"imagenet": ImageNetStart, "vit": VitStart}


class Experiment:
    """Trains and scores systems of one start.

    Args:
        start: What they begin with.
        slices: All slices.
        steps: Of every taught system.
    """

    def __init__(self, start: Start, slices: PeopleSlices, steps: int) -> None:
        self.start, self.slices, self.steps = start, slices, steps
        self._banks: dict[str, CaptionBank] = {}

    def run(self, system: System, fold: int, seed: int) -> dict[str, NDArray[np.float64]]:
        """Teach a system without the people of one part, and ask it about them.

        Returns:
            Of n slices of these people "rows" [n], log-odds of "organs" [n, 20] and "stations" [n, 5], and against
            contradictions in either kind such as "organs win", [n], see ``PAIR_MEASURES``.
        """
        model = self.start.begin(seed)
        if system.captions and system.images:
            self._teach(model, system, np.flatnonzero(self.slices.folds != fold), 1000 * seed + fold)
        model.eval()
        return self._ask(np.flatnonzero(self.slices.folds == fold))

    def _bank(self, recipe: str, mix: CaptionMix) -> CaptionBank:
        if recipe not in self._banks:
            self._banks[recipe] = CaptionBank(self.slices, mix)
        return self._banks[recipe]

    def _teach(self, model: VisionLanguageEncoder, system: System, rows: NDArray[np.intp], seed: int) -> None:
        tables = read_recipe(RECIPES / f"{system.captions}.toml") | {"loss": {"kind": system.loss}}
        given = {"learning_rate": self.start.learning_rate, "batch_size": self.start.batch, "max_steps": self.steps}
        config = ContrastiveConfig.from_dict(tables | given).for_model(model, ())
        bank, changed = self._bank(str(system.captions), config.captions), system.images == "pmc_msa"
        built = build_optimizer(model, config, self.steps, "")
        assert isinstance(built["lr_scheduler"], dict)
        optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
        batches, looks, words = (np.random.default_rng([seed, what]) for what in range(3))
        odds = self.slices.weights[rows] / self.slices.weights[rows].sum()
        model.train()
        for _ in range(self.steps):
            chosen = rows[batches.choice(len(rows), self.start.batch, p=odds)]
            views = looks.integers(1, 1 + CHANGED, size=len(chosen)) if changed else np.zeros_like(chosen)
            loss = self._loss(config, chosen, views, bank.pick(chosen, words))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
            optimizer.step()
            schedule.step()
            if self.start.log_scale.requires_grad:
                bound_scale(self.start.log_scale)

    def _loss(
        self, config: ContrastiveConfig, rows: NDArray[np.intp], views: NDArray[np.intp], captions: list[Caption]
    ) -> Tensor:
        """Captions that repeat are encoded once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(each.text for each in captions))}
        texts = F.normalize(self.start.encode_text(list(places)).embedding, dim=-1)
        images = F.normalize(self.start.encode_images(rows, views), dim=-1)
        logits = similarity_logits(images, texts[[places[each.text] for each in captions]], self.start.log_scale)
        if config.loss.kind == "paper":  # takes the diagonal for all that is true
            return paper_loss(logits)
        true, known = match([self.slices.labels[row] for row in rows], [each.asserts for each in captions])
        return config.loss(logits, true, known)

    @torch.no_grad()
    def _ask(self, rows: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
        parts = [self.start.encode_images(part, np.zeros_like(part)) for part in np.array_split(rows, 8) if len(part)]
        vectors = F.normalize(torch.cat(parts), dim=-1)
        shown = tuple(self.slices.labels[row] for row in rows)
        encoded = EncodedSlices(vectors, shown, tuple(self.slices.patients[row] for row in rows))
        # Only texts are asked of it, and a start caches them; its scale is ``LOGIT_SCALE``, whatever was learnt.
        reader = cast(VisionLanguageEncoder, self.start)
        found = {"rows": rows.astype(np.float64)}
        for kind, labels in LABELS.items():
            found[kind] = score_labels(reader, encoded, kind, labels).scores
            pairs = pair_captions(reader, encoded, kind, labels)
            margins = pairs.margins
            count = np.bincount(pairs.images, minlength=len(rows)).astype(float)
            for name, each in zip(PAIR_MEASURES, ((np.sign(margins) + 1) / 2, margins, expit(margins)), strict=True):
                found[f"{kind} {name}"] = share(np.bincount(pairs.images, each, len(rows)).astype(float), count)
        return found


def count_true_others(slices: PeopleSlices, recipe: str, batch: int, batches: int = 20) -> float:
    """Share of the other captions of a batch that are true of a slice, of those of which it is known.

    Args:
        slices: All slices.
        recipe: Of the captions.
        batch: Slices of a batch.
        batches: How many to look at.
    """
    mix = ContrastiveConfig.from_dict(read_recipe(RECIPES / f"{recipe}.toml")).captions
    bank, generator = CaptionBank(slices, mix), np.random.default_rng(0)
    odds, others, shares = slices.weights / slices.weights.sum(), ~np.eye(batch, dtype=bool), []
    for _ in range(batches):
        rows = generator.choice(len(odds), batch, p=odds)
        said = [each.asserts for each in bank.pick(rows, generator)]
        found = match_statements([slices.labels[row] for row in rows], said)
        shares.append(found.true[others].sum() / found.known[others].sum())
    return float(np.mean(shares))
