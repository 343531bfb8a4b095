"""``vesalius train-naming``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.recipe_options import RecipeOptions

_RECIPE = RecipeOptions()


def train_naming(
    *,
    model: str,
    data: list[Path],
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    settings: Annotated[RecipeOptions, Parameter(name="*")] = _RECIPE,
    workers: int = 0,
    save_minutes: float = 10.0,
    log: list[Literal["tensorboard", "mlflow"]] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Train a model to name slices, on captions of what they show, keeping the weights that name validation best.

    Slices are those of `vesalius data slices`. Without a recipe captions and slices both vary, and every caption that
    is true of a slice counts (UniCL); recipes/anatomy/ has the paper's systems. Settings given here go before the
    recipe's.

    Examples:
        vesalius train-naming --model pocket --data slices -o runs/names
        vesalius train-naming --model biomedclip --data slices --recipe mine.toml

    Documentation:
        docs/anatomy-training.md

    Args:
        model: pubmedclip, biomedclip or another name that `vesalius name --model` knows, for its public weights;
            "pocket", of which only the layers that meet the words train; a checkpoint to go on from; or clip_vit_b32 or
            clip_rn50, untrained.
        data: Folders of slices; repeat --data for several.
        out: Folder for weights, manifest and metrics; runs/MODEL-DATA by default.
        settings: What decides the result; an image is a slice here.
        workers: Processes that prepare slices; 0 for none but the one that trains.
        save_minutes: Between savings of the run's state inside an epoch; it is saved after each anyway.
        log: Report to TensorBoard or MLflow too; repeat it for both.
        resume: Go on where an interrupted run in the same folder stopped, as if it had not been interrupted. The same
            command does so by itself; this refuses to begin anew.
        overwrite: Begin anew where the folder holds a run, and replace that.
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, say
    from vesalius.models.recipe import to_options
    from vesalius.models.start import start_encoder
    from vesalius.training.config import check_table
    from vesalius.training.contrastive.config import ContrastiveConfig
    from vesalius.training.contrastive.fit import fit_contrastive
    from vesalius.training.progress import tell
    from vesalius.training.running import Running

    given = settings.read()
    options = to_options(check_table(given.pop("model", {}), "[model]"))
    config = ContrastiveConfig.from_dict(given)
    folder = out or Path("runs") / f"{Path(model).stem}-{data[0].name}"
    start, origin = start_encoder(model, seed=config.seed, options=options)
    running = Running(
        resume=resume, overwrite=overwrite, workers=workers, save_minutes=save_minutes, loggers=tuple(log or ())
    )
    tell(f"{model}: {origin} weights; results in {folder}")
    result = fit_contrastive(start, data, folder, config.for_model(start, given), running)
    if as_json:
        told = {"checkpoint": str(result.checkpoint), "val_top1": result.val_top1, "epochs": result.epochs}
        print_json({**told, "earlier": result.earlier})
    else:
        say(
            f"Right first names on validation slices {result.val_top1:.3f} after {result.epochs} epochs: "
            f"{result.checkpoint}{' (finished earlier; train it anew with --overwrite)' if result.earlier else ''}"
        )
