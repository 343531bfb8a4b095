"""The contract every segmenter keeps: RGB in [0, 1] and strings in, logits at the image's own size out."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import ImageFeatures, MaskPrediction, TextFeatures, resize


class Segmenter(VisionLanguageEncoder):
    """An image encoder, a text encoder and a decoder that turns their features into a mask."""

    reads_text: bool = True
    """False for models (UNet-D) whose mask cannot depend on the prompt."""
    judges_existence: bool = False
    """True for models whose predictions say whether the image shows what the prompt names at all."""

    @abstractmethod
    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Pair image i with prompt i: logits [B, 1, h, w] at the resolution the decoder works in."""

    @property
    def completes_with_images(self) -> bool:
        """Whether ``complete`` looks at the images; where it does not, they need not even be read."""
        return False

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """The share of ``encode_image`` that the modules of ``freeze("image")`` decide alone.

        While they are held still it is the same for an image in every epoch, and can be stored.

        Args:
            images: RGB [B, 3, H, W] in [0, 1].
        """
        return self.encode_image(images)

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Add what trains: ``encode_image(images)`` from the ``encode_frozen`` of the same images.

        Args:
            images: RGB [B, 3, H, W] in [0, 1]; anything where ``completes_with_images`` is False.
            frozen: Of these images.
        """
        return frozen

    def predict(self, images: Tensor, prompts: Sequence[str]) -> MaskPrediction:
        """Like ``forward``, with the existence score of models that have one."""
        prediction = self.decode(self.encode_image(images), self.encode_text(prompts))
        return MaskPrediction(resize(prediction.logits, _size(images)), prediction.existence)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Segment B images by B prompts.

        Args:
            images: RGB [B, 3, H, W] in [0, 1], any size.
            prompts: B strings.

        Returns:
            Logits [B, 1, H, W] at the images' size; above 0 means more likely inside than outside.
        """
        return self.predict(images, prompts).logits

    def forward_tensors(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The same computation from tensors alone, for export and for parity with other implementations.

        Args:
            pixel_values: Resized and normalised as ``spec`` says, [B, 3, H, W].
            input_ids: [B, L].
            attention_mask: [B, L], 1 where a token is real; None means all are.

        Returns:
            Logits [B, 1, H, W] at the size of ``pixel_values``.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        prediction = self.decode(self.encode_pixels(pixel_values), self.encode_tokens(input_ids, mask))
        return resize(prediction.logits, _size(pixel_values))


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
