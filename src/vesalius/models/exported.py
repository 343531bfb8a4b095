"""A segmenter whose graphs another program runs; to everything else it is a segmenter like any other."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Self

import torch
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models.encoder import Part
from vesalius.models.export_contract import CONTRACT_NAME, GRAPHS, ExportContract, GraphName, check_files, read_contract
from vesalius.models.features import ImageFeatures, MaskPrediction, TextFeatures
from vesalius.models.flat_features import flatten_image, flatten_text, restore_image, restore_text
from vesalius.models.registry import as_segmenter, build_model
from vesalius.models.runtimes import Graph, open_graph
from vesalius.models.segmenter import Segmenter


class ExportedSegmenter(Segmenter):
    """See the module's description.

    Args:
        original: The model that was exported, without its weights.
        graphs: Opened; a model that does not read has none for text.
    """

    def __init__(self, original: Segmenter, graphs: Mapping[GraphName, Graph]) -> None:
        super().__init__(original.spec, original.tokenizer)
        self.recipe = original.recipe
        self.reads_text = original.reads_text
        self.judges_existence = original.judges_existence
        self._graphs = graphs

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """None: there is nothing to train."""
        return []

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode is the only one.

        Raises:
            ModelError: If it is to be trained.
        """
        if mode:
            self._refuse("be trained")
        return super().train(mode)

    def state_dict(self, *args: object, **kwargs: object) -> NoReturn:
        """There are no weights to give.

        Raises:
            ModelError: Always.
        """
        self._refuse("be saved as a checkpoint")

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Normalised pixels [B, 3, S, S] to features; S is the one size of the graph."""
        return restore_image(self._graphs["image"]({"pixel_values": pixel_values}), len(pixel_values))

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Token ids and their mask [B, L] to features."""
        if "text" not in self._graphs:
            return restore_text({}, len(input_ids))
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return restore_text(self._graphs["text"](inputs), len(input_ids))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the resolution the decoder works in."""
        found = self._graphs["decoder"](flatten_image(image) | flatten_text(text))
        return MaskPrediction(found["logits"], found.get("existence"))

    def _refuse(self, what: str) -> NoReturn:
        remedy = "use the checkpoint it was exported from"
        raise ModelError(f"An exported model ({self.recipe.name}) cannot {what}; {remedy}.")


def load_exported(folder: Path) -> ExportedSegmenter:
    """Open what ``vesalius export`` wrote.

    Args:
        folder: With ``export.json`` and the graphs.

    Raises:
        MissingPackageError: If the program that runs the graphs is not installed.
        ModelError: If a file is missing, damaged or changed.
    """
    contract = read_contract(folder / CONTRACT_NAME)
    check_files(folder, contract)
    return open_exported(folder, contract)


def open_exported(folder: Path, contract: ExportContract) -> ExportedSegmenter:
    """Open graphs whose files are known to be right.

    Raises:
        MissingPackageError: If the program that runs the graphs is not installed.
        ModelError: If a graph is missing or cannot be read.
    """
    with torch.device("meta"):  # its tokenizer and sizes are wanted, not its weights
        original = as_segmenter(build_model(contract.recipe.name, **contract.recipe.options))
    files = {graph: contract.graph_file(graph) for graph in GRAPHS}
    missing = [graph for graph in GRAPHS if files[graph] is None and (graph != "text" or original.reads_text)]
    if missing:
        raise ModelError(f"{folder / CONTRACT_NAME}: has no graph for {', '.join(missing)}; export the model again.")
    graphs = {graph: open_graph(folder / file) for graph, file in files.items() if file is not None}
    return ExportedSegmenter(original, graphs).eval()
