"""``vesalius train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.recipe_options import RecipeOptions
from vesalius.training.running import Running

if TYPE_CHECKING:
    from vesalius.data.fingerprints import Fingerprints

_RECIPE, _RUNNING = RecipeOptions(), Running()


def train(
    *,
    model: str,
    data: list[Path],
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    settings: Annotated[RecipeOptions, Parameter(name="*")] = _RECIPE,
    pretrained: bool = False,
    from_scratch: bool = False,
    views: int | None = None,
    running: Annotated[Running, Parameter(name="*")] = _RUNNING,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Train a model on one data set or several, keeping the weights with the best validation Dice.

    Without a recipe the paper's settings hold: AdamW at 1e-5, Dice and cross-entropy, batch 10, encoders frozen, early
    stopping after 20 epochs without progress. Trained weights take steps of 3e-4, so that a short run shows, and keep
    the statistics of their batch norms unless the recipe says otherwise.

    Examples:
        vesalius train --model pocket --data kvasir --max-epochs 5 -o runs/mine
        vesalius train --model clipseg --pretrained --data kvasir --data bkai
        vesalius train --model pocket --data kvasir --set augment.rotation=30

    Documentation:
        docs/training.md

    Args:
        model: A model's name, or a checkpoint to go on from; "pocket" starts from the embedded weights.
        data: Folders with images/, masks/ and anns/; repeat --data for several.
        out: Folder for weights, manifest and metrics; runs/MODEL-DATA by default.
        settings: What decides the result.
        pretrained: Start a named model from the public weights of its parts, see `vesalius weights list`.
        from_scratch: Start it from random weights although its encoders are held still, which is refused otherwise.
        views: Augmented pictures of each image, which take turns; what a frozen encoder makes of them is computed once
            and stored. 0, as without a recipe, draws a new one in every epoch and stores nothing.
        running: What does not.
        as_json: Print one JSON object.
    """
    from pytorch_lightning.utilities import rank_zero_only

    from vesalius.console import print_json
    from vesalius.models.recipe import to_options
    from vesalius.models.start import start_model
    from vesalius.training.config import TrainConfig, check_table
    from vesalius.training.fit import fit
    from vesalius.training.preparing import check_encoders
    from vesalius.training.progress import tell

    given = settings.read() | ({} if views is None else {"views": views})
    options = to_options(check_table(given.pop("model", {}), "[model]"))
    config = TrainConfig.from_dict(given)
    folder = out or Path("runs") / f"{Path(model).stem}-{data[0].name}"
    start, origin = start_model(model, seed=config.seed, options=options, pretrained=pretrained)
    config = config.for_trained(start, given) if origin == "trained" else config
    if origin == "untrained" and not from_scratch:
        check_encoders(start, config)
    tell(f"{model}: {origin} weights; results in {folder}")
    if running.features and not config.views:
        tell("--features has no effect: nothing is stored without --views, or views in the recipe.")
    result = fit(start, data, folder, config, running, _read_seen(model, origin))
    if as_json:
        rank_zero_only(print_json)(
            {
                "checkpoint": str(result.checkpoint),
                "val_dice": result.val_dice,
                "epochs": result.epochs,
                "earlier": result.earlier,
            }
        )
    else:
        earlier = " (finished earlier; train it anew with --overwrite)" if result.earlier else ""
        tell(f"Best validation Dice {result.val_dice:.3f} after {result.epochs} epochs: {result.checkpoint}{earlier}")


def _read_seen(model: str, origin: str) -> "Fingerprints | None":
    """Fingerprints of what the weights that training begins with were trained on; None if that is not known."""
    from vesalius.data.fingerprints import Fingerprints, fingerprints_path, read_fingerprints
    from vesalius.models.checkpoint_file import find_checkpoint

    if origin == "untrained":
        return Fingerprints(complete=True)
    return read_fingerprints(fingerprints_path(find_checkpoint(model))) if origin == "trained" else None
