"""``vesalius evaluate MODEL --data DIR``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.evaluation.segmentation import Evaluation


def evaluate(
    model: str,
    /,
    *,
    data: Path,
    split: Literal["train", "val", "test"] = "test",
    prompts: str = "all",
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Score a model on a data set: Dice and IoU of every image and prompt, at native resolution.

    Args:
        model: A model's name, a checkpoint or a run's folder.
        data: Folder with images/, masks/ and anns/.
        split: Which part of it.
        prompts: "all", or families such as "p1,p6".
        out: Folder for rows.csv (one row an image and wording) and evaluation.json.
        as_json: Print one JSON object.
    """
    from vesalius.cli.output import print_json
    from vesalius.data.datasets import SegmentationDataset
    from vesalius.evaluation import segmentation
    from vesalius.files import write_json
    from vesalius.models.checkpoints import load_segmenter
    from vesalius.progress import progress_bar

    dataset = SegmentationDataset(data, split)
    families = None if prompts == "all" else [each.strip() for each in prompts.split(",")]
    trained = load_segmenter(model)
    with progress_bar() as bar:
        task = bar.add_task(f"Evaluating {data.name}", total=len(dataset))
        evaluation = segmentation.evaluate(trained, dataset, families, on_image=lambda: bar.advance(task))
    content = {"model": model, "data": str(data), "split": split, **evaluation.to_dict()}
    if out is not None:
        segmentation.write_rows(evaluation, out / "rows.csv")
        write_json(out / "evaluation.json", content)
    if as_json:
        print_json(content)
    else:
        _print(evaluation, f"{model} on {data.name}, {split}")


def _print(evaluation: "Evaluation", title: str) -> None:
    from vesalius.cli.output import print_table, say
    from vesalius.evaluation.segmentation import RULE

    rows = [
        (
            name,
            evaluation.mean("dice", family),
            evaluation.mean("iou", family),
            evaluation.mean("dice", family, present_only=True),
        )
        for name, family in [*((each, each) for each in evaluation.families()), ("mean", None)]
    ]
    print_table(("prompt", "Dice", "IoU", "Dice, where present"), rows, title=f"{title}: {evaluation.images()} images")
    say(f"({RULE})")
