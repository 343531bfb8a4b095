"""``vesalius train``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def train(
    *,
    model: str,
    data: list[Path],
    out: Path | None = None,
    recipe: Path | None = None,
    pretrained: bool = False,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    views: int | None = None,
    features: Path | None = None,
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    save_minutes: float = 10.0,
    log: list[Literal["tensorboard", "mlflow"]] | None = None,
    resume: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Train a model on one data set or several, keeping the weights with the best validation Dice.

    Without a recipe the paper's settings hold: AdamW at 1e-5, Dice and cross-entropy, batch 10, encoders frozen, early
    stopping after 20 epochs without progress. Settings given here go before the recipe's. Trained weights keep the
    statistics of their batch norms unless the recipe says otherwise.

    Args:
        model: A model's name, or a checkpoint to go on from; "pocket" starts from the embedded weights.
        data: Folders with images/, masks/ and anns/; repeat --data for several.
        out: Folder for weights, manifest and metrics; runs/MODEL-DATA by default.
        recipe: TOML file of settings, see recipes/; its [model] table holds options of a model built anew.
        pretrained: Start a named model from the public weights of its parts, see `vesalius weights list`.
        learning_rate: Largest step size.
        batch_size: Images a step.
        max_epochs: Passes over the training images at most.
        max_steps: Steps at most, for a short trial.
        seed: Decides order, augmentation, prompts and initial weights.
        views: Augmented pictures of each image, which take turns; what a frozen encoder makes of them is computed once
            and stored. 0, as without a recipe, draws a new one in every epoch and stores nothing.
        features: Folder for what is stored, which several runs can share; OUT/features by default.
        devices: Accelerators of each machine that share every batch, or processes where there is none.
        nodes: Machines, on each of which SLURM or torchrun runs this command.
        workers: Processes that prepare images, for each device; 0 for none but the one that trains.
        save_minutes: Between savings of the run's state inside an epoch; it is saved after each anyway.
        log: Report to TensorBoard or MLflow too; repeat it for both.
        resume: Go on where an interrupted run in the same folder stopped, as if it had not been interrupted.
        as_json: Print one JSON object.
    """
    from pytorch_lightning.utilities import rank_zero_only

    from vesalius.cli.output import print_json
    from vesalius.models.recipe import to_options
    from vesalius.models.start import start_model
    from vesalius.training.config import TrainConfig, check_table, read_recipe
    from vesalius.training.fit import fit
    from vesalius.training.progress import tell
    from vesalius.training.running import Running

    settings = read_recipe(recipe) if recipe else {}
    options = to_options(check_table(settings.pop("model", {}), "[model]"))
    given = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "max_epochs": max_epochs,
        "max_steps": max_steps,
        "seed": seed,
        "views": views,
    }
    config = TrainConfig.from_dict(settings | {name: value for name, value in given.items() if value is not None})
    folder = out or Path("runs") / f"{Path(model).stem}-{data[0].name}"
    start, origin = start_model(model, seed=config.seed, options=options, pretrained=pretrained)
    config = config.for_trained(settings) if origin == "trained" else config
    running = Running(resume, features, devices, nodes, workers, save_minutes, tuple(log or ()))
    tell(f"{model}: {origin} weights; results in {folder}")
    if features and not config.views:
        tell("--features has no effect: nothing is stored without --views, or views in the recipe.")
    result = fit(start, data, folder, config, running)
    if as_json:
        rank_zero_only(print_json)(
            {"checkpoint": str(result.checkpoint), "val_dice": result.val_dice, "epochs": result.epochs}
        )
    else:
        tell(f"Best validation Dice {result.val_dice:.3f} after {result.epochs} epochs: {result.checkpoint}")
