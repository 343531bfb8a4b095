"""Any model of the package in PyTorch, on the CPU, a CUDA device or Apple's GPU."""

from collections.abc import Sequence

import numpy as np
import torch

from vesalius.models.choices import Precision
from vesalius.models.clip import logit_scale
from vesalius.models.encoder import ImageFeatures, Segmenter, VisionLanguageEncoder
from vesalius.models.inference import TextCache, choose_device, decode_prompts, encode
from vesalius.models.registry import as_segmenter
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Floats, Outlines


class TorchRuntime:
    """A model in PyTorch.

    Args:
        model: It is put in evaluation mode, and moved to the device.
        device: "auto" (where the model is), "cpu", "cuda", "cuda:1" or "mps".
        precision: Precision of computation; results are 32-bit floats anyway.

    Raises:
        ConfigError: If there is no such device.
    """

    name = "torch"

    def __init__(self, model: VisionLanguageEncoder, device: str = "auto", precision: Precision = "32") -> None:
        place = model.device if device == "auto" else choose_device(device)
        self.model = model.to(place).eval()
        self.device = str(self.model.device)
        self.image_size = model.spec.image_size
        self.reads_text = not isinstance(model, Segmenter) or model.reads_text
        self.judges_existence = isinstance(model, Segmenter) and model.judges_existence
        self.logit_scale = logit_scale(model)
        self._precision = precision
        self._texts = TextCache(model)

    def encode_image(self, rgb: Floats) -> EncodedImages:
        """See `Runtime`."""
        images = torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)))
        features = encode(self.model, images, self._precision)
        return EncodedImages(_to_numpy(features.embedding), features)

    def embed_image(self, rgb: Floats) -> Floats:
        """See `Runtime`."""
        return self.encode_image(rgb).vectors

    def encode_text(self, phrases: Sequence[str]) -> EncodedPhrases:
        """See `Runtime`."""
        features = self._texts.encode(phrases)
        return EncodedPhrases(_to_numpy(features.embedding), tuple(phrases))

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        """See `Runtime`.

        Raises:
            ModelError: If the model only encodes.
        """
        model = as_segmenter(self.model)
        assert isinstance(image.maps, ImageFeatures)
        assert isinstance(text.tokens, tuple)
        answers = decode_prompts(model, image.maps, text.tokens, self._texts, precision=self._precision)
        existence = [each.existence for each in answers if each.existence is not None]
        return Outlines(
            np.concatenate([_to_numpy(each.logits)[:, 0] for each in answers]),
            np.array([float(each) for each in existence]) if existence else None,
        )


def _to_numpy(values: torch.Tensor) -> Floats:
    return np.asarray(values.float().cpu().numpy())
