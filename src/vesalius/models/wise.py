"""WiSE-FT (Wortsman et al., CVPR 2022): between the weights before and after fine-tuning.

Fine-tuning on one kind of data often costs accuracy on others; a mixture of the two models' weights often has both.
"""

import copy
from typing import TypeVar

import torch

from vesalius.errors import ConfigError, ModelError
from vesalius.models.encoder import VisionLanguageEncoder

Model = TypeVar("Model", bound=VisionLanguageEncoder)


def interpolate_weights(before: Model, after: Model, share: float = 0.5) -> Model:
    """A model whose weights are (1 - share) · before + share · after.

    Args:
        before: The model that fine-tuning started from.
        after: The same model, fine-tuned.
        share: 0 for the former, 1 for the latter.

    Returns:
        A new model; whole numbers, such as counts of batches, are those of ``after``.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        ModelError: If the two do not have the same tensors.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share must lie between 0 (before fine-tuning) and 1 (after), got {share}.")
    old, new = before.state_dict(), after.state_dict()
    other = sorted(name for name in old.keys() | new.keys() if name not in old or name not in new)
    other += sorted(name for name in old.keys() & new.keys() if old[name].shape != new[name].shape)
    if other:
        raise ModelError(
            f"the two models differ in {len(other)} tensors, {other[0]} among them; take one architecture."
        )
    mixed = copy.deepcopy(after)
    mixed.load_state_dict(
        {name: torch.lerp(old[name], new[name], share) if new[name].is_floating_point() else new[name] for name in new}
    )
    return mixed
