"""The few labelled images that a method learns from."""

from dataclasses import dataclass

from torch import Tensor

from vesalius.errors import DataError


@dataclass(frozen=True)
class Support:
    """N images, encoded once, and which of C labels each shows."""

    images: Tensor
    """Unit vectors [N, E] of a frozen encoder."""
    present: Tensor
    """The image shows what the label says, [N, C], bool; False where not known."""
    known: Tensor
    """Whether that is known, [N, C], bool."""

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.dim() != 2 or self.present.dim() != 2 or self.present.shape != self.known.shape:
            raise DataError(f"a support set needs images [N, E], present and known [N, C], got {self._shapes()}.")
        if len(self.present) != count:
            raise DataError(f"{count} images have {len(self.present)} rows of labels; give one row an image.")
        if bool((self.present & ~self.known).any()):
            raise DataError("a label is present where it is not known; set present to False there.")

    def _shapes(self) -> str:
        return ", ".join(str(tuple(tensor.shape)) for tensor in (self.images, self.present, self.known))
