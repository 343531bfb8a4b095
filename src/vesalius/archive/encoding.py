"""A model at the work of an index: slices to unit vectors, vectors and headers to probabilities of labels."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.archive.index import Halves
from vesalius.imaging import MedicalImage
from vesalius.imaging.slices import to_bytes
from vesalius.models.checkpoint_file import identify_model
from vesalius.models.choices import Precision, RuntimeChoice
from vesalius.naming.labeller import (
    header_modality,
    header_plane,
    header_protocol,
    label_slices,
    open_namer,
    shows_anything,
)
from vesalius.naming.labels import Answer
from vesalius.naming.phrasebook import NamingCalibration, Phrasebook
from vesalius.naming.series import Bools
from vesalius.prompts.anatomy import CROSS_SECTIONAL, PROTOCOL_MODALITY
from vesalius.prompts.phrase_vectors import to_unit
from vesalius.runtime.contract import Floats, Runtime

AT_ONCE = 8
"""Slices encoded together."""
KEY_BYTES = 16
"""Bytes of a hash that tells slices, or series, apart."""

KnownLabels = Mapping[str, tuple[str | None, float]]
"""Question that a header answers -> its label, None if it has none of ours, and the confidence in it."""


@dataclass(frozen=True, eq=False)
class SliceEncoder:
    """A model whose image vectors share a space with its text's, and what it is called."""

    runtime: Runtime
    phrases: Phrasebook
    model: str
    """Name or absolute path."""
    weights: str
    """sha256 of its weights."""

    @classmethod
    def open(
        cls,
        model: str,
        *,
        runtime: RuntimeChoice = "auto",
        device: str = "auto",
        precision: Precision = "32",
    ) -> "SliceEncoder":
        """Open a model that names.

        Args:
            model: As ``open_namer`` takes it.
            runtime: See ``open_namer``, as for the other two.
            device: Where to compute.
            precision: Precision of computation in PyTorch.

        Raises:
            ConfigError: If the runtime cannot do what is asked.
            MissingPackageError: If PyTorch is needed and not installed.
            ModelError: If there is no such model, or it cannot name.
        """
        opened, calibration = open_namer(model, runtime=runtime, device=device, precision=precision)
        name, weights = identify_model(model, "name")
        return cls(opened, Phrasebook(opened, calibration, name), name, weights)

    @property
    def side(self) -> int:
        """Side of the square that the model takes, pixels."""
        return self.runtime.image_size

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.phrases.width

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Question and label of each column of ``label``."""
        return tuple((question, label) for question, labels in self.phrases.labels.items() for label in labels)

    @property
    def calibration(self) -> NamingCalibration:
        """How scores become probabilities."""
        return self.phrases.calibration

    def encode(self, pictures: Sequence[Floats]) -> Floats:
        """Unit vectors [N, width] of slices as ``render_for_model`` gives them."""
        return to_unit(self.runtime.embed_image(np.stack(pictures)))

    def encode_phrase(self, phrase: str) -> Floats:
        """The unit vector of a phrase, [width]."""
        return np.asarray(to_unit(self.runtime.encode_text([phrase]).vectors)[0])

    def label(self, vectors: Floats, known: Sequence[KnownLabels], shows: Bools) -> Floats:
        """Probability of each label: the header's answer where it has one, else the pixels'.

        Args:
            vectors: Unit vectors [N, width].
            known: What the header of each slice tells.
            shows: Slices that show anything, [N]; pixels of the others tell nothing, so their labels get 0.

        Returns:
            [N, labels].

        Raises:
            ModelError: If the model cannot name.
        """
        labelled = label_slices(self.phrases, self.phrases.odds(vectors), shows)
        found = {question: each.values for question, each in labelled.items()}
        # Only MR has protocols, and only cross-sections have planes.
        for question, modalities in (("protocol", (PROTOCOL_MODALITY,)), ("plane", CROSS_SECTIONAL)):
            columns = [self.phrases.labels["modality"].index(each) for each in modalities]
            found[question] = np.minimum(found[question], found["modality"][:, columns].sum(1, keepdims=True))
        for row, answers in enumerate(known):
            for question, (label, confidence) in answers.items():
                found[question][row] = 0
                if label in self.phrases.labels[question]:
                    found[question][row, self.phrases.labels[question].index(label)] = confidence
        return np.concatenate([found[question] for question in self.phrases.labels], axis=1).astype(np.float32)


def read_labels_of_header(image: MedicalImage) -> KnownLabels:
    """What a header tells of modality, protocol and plane; questions that pixels have to answer are left out."""
    modality = header_modality(image)
    plane = header_plane([image], modality or Answer(None, None, "pixels"))
    protocol = None if modality is None else header_protocol(image, modality)
    answers = {"modality": modality, "protocol": protocol, "plane": plane}
    return {name: (each.label, each.confidence or 1.0) for name, each in answers.items() if each is not None}


class PendingSlices:
    """Slices that are encoded and not yet written; pictures are kept until there are enough to encode together.

    Args:
        encoder: What encodes and labels them.
    """

    def __init__(self, encoder: SliceEncoder) -> None:
        self._encoder = encoder
        self._pictures: list[Floats] = []
        self._known: list[KnownLabels] = []
        self._shows: list[bool] = []
        self._keys: dict[bytes, None] = {}
        self._vectors: list[Floats] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def add(self, key: bytes, rgb: Floats, known: KnownLabels) -> None:
        """Take a slice in.

        Args:
            key: Its `hash_slice`.
            rgb: As the model is shown it, [side, side, 3] in [0, 1].
            known: What its header tells.
        """
        self._keys[key] = None
        self._pictures.append(rgb)
        self._known.append(known)
        self._shows.append(shows_anything(rgb))
        if len(self._pictures) >= AT_ONCE:
            self._encode()

    def finish(self) -> tuple[list[bytes], Halves, Halves]:
        """Keys, vectors and labels of all, which are forgotten here; of slices that show nothing the vectors are 0."""
        self._encode()
        keys = list(self._keys)
        vectors = np.concatenate(self._vectors) if keys else np.zeros((0, self._encoder.width), np.float32)
        shows = np.array(self._shows, np.bool_)
        labels = self._encoder.label(vectors, self._known, shows)
        vectors = np.where(shows[:, None], vectors, np.float32(0))
        self._keys, self._vectors, self._known, self._shows = {}, [], [], []
        return keys, vectors.astype(np.float16), labels.astype(np.float16)

    def _encode(self) -> None:
        if self._pictures:
            self._vectors.append(self._encoder.encode(self._pictures))
            self._pictures = []


def hash_slice(rgb: Floats) -> bytes:
    """A key that slices share only if the model is shown the same, to 1/255 of brightness.

    Args:
        rgb: A slice as the model is shown it, [side, side, 3] in [0, 1].
    """
    return hashlib.blake2b(to_bytes(rgb).tobytes(), digest_size=KEY_BYTES).digest()
