"""``vesalius audit MODEL --data DIR``."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.cli.usage import AsJson, OutPath, Precision, Split
from vesalius.console import print_json, print_table, progress_bar, say
from vesalius.errors import ConfigError
from vesalius.files import sha256_of, write_json
from vesalius.folders import Claim

if TYPE_CHECKING:
    from vesalius.evaluation.audit.card import AuditCard


def audit(
    model: str,
    /,
    *,
    data: Path,
    split: Split = "test",
    limit: int | None = None,
    absent: tuple[str, ...] = (),
    group_regex: str | None = None,
    pictures: int = 3,
    out: OutPath = None,
    device: str = "auto",
    precision: Precision = "32",
    overwrite: bool = False,
    as_json: AsJson = False,
) -> None:
    """Find out whether a model reads its prompts: other words, wrong words, no words, things that are not there.

    Examples:
        vesalius audit pocket --data kvasir --limit 100
        vesalius audit runs/mine --data kvasir --absent tumour -o audits/mine

    Documentation:
        docs/audit.md, docs/devices.md

    Args:
        model: A model's name, a checkpoint or a run's folder.
        data: Folder with images/, masks/ and anns/.
        split: Which part of it.
        limit: Images to ask about, evenly spaced; all by default.
        absent: A phrase for what no image of the data shows, beside those known already; may be given several times.
        group_regex: Names the patient in an image's file name, such as "^[^_]+"; intervals then draw patients instead
            of images.
        pictures: Of the worst answers, for each of three reasons; needs --out.
        out: Folder for audit.json, audit.md, answers.parquet (a row a substitution) and the pictures.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes a GPU where there is one.
        precision: Of computation; "mixed" halves the bits of numbers where that is safe, for GPUs.
        overwrite: Replace what this command made there from something else.
        as_json: Print one JSON object.
    """
    from vesalius.data.datasets import SegmentationDataset
    from vesalius.evaluation.audit import run
    from vesalius.evaluation.audit.card import fill_card
    from vesalius.evaluation.audit.page import draw_worst, find_worst, write_page
    from vesalius.evaluation.audit.session import write_results
    from vesalius.evaluation.rows import name_clusters
    from vesalius.models.checkpoint_file import find_checkpoint
    from vesalius.models.checkpoints import load_segmenter
    from vesalius.models.inference import describe_device, place

    if pictures < 0:
        raise ConfigError(f"--pictures: expected 0 or more, got {pictures}.")
    dataset = SegmentationDataset(data, split)
    name_clusters([record.img_name for record in dataset.records], group_regex)  # complains now, not after the pass
    trained = place(load_segmenter(model), device, precision)
    computed = describe_device(trained.device, precision)
    asked = {"limit": limit, "absent": absent, "group_regex": group_regex}
    weights = {"file": str(find_checkpoint(model).resolve()), "sha256": sha256_of(find_checkpoint(model))}
    origin = {"weights": weights, "data": str(data.resolve()), "split": split, **asked, **computed}
    claim = out and Claim(out, "audit", origin, ["answers.parquet", "audit.json", "audit.md"], overwrite)
    if claim:
        claim.check()
    with progress_bar() as bar:
        task = bar.add_task(f"Questioning {model}", total=len(run.choose(len(dataset), limit)))
        found = run.audit(
            trained, dataset, limit=limit, absent=absent, precision=precision, on_image=lambda: bar.advance(task)
        )
    card = fill_card(found, group_regex=group_regex)
    content = {
        "model": model,
        "data": str(data.resolve()),
        "split": split,
        **computed,
        "versions": {name: version(name) for name in ("vesalius", "torch", "numpy", "scipy")},
        **card.to_dict(),
    }
    title = f"{model} on {data.name}, {split}"
    drawn: list[Path] = []
    if claim:
        claim.make()
        out = claim.folder
        with progress_bar() as bar:
            task = bar.add_task("Drawing the worst", total=len(find_worst(found.results, pictures)))
            drawn = draw_worst(
                trained,
                dataset,
                found.results,
                out,
                count=pictures,
                precision=precision,
                on_picture=lambda: bar.advance(task),
            )
        write_results(found.results, out / "answers.parquet")
        write_json(out / "audit.json", content)
        write_page(card, title, drawn, out / "audit.md")
    if as_json:
        print_json(content)
    else:
        _print(card, title)
    if out is not None:
        say(f"{len(found.results)} answers, {len(drawn)} pictures of the worst: {out / 'audit.md'}")


def _print(card: "AuditCard", title: str) -> None:
    from vesalius.evaluation.audit.page import describe_scope, describe_trust, group_lines

    rows: list[tuple[object, ...]] = []
    for question, good, lines in group_lines(card.lines):
        rows.append((question, f"good: {good}", ""))
        rows += [(f"  {line.kind}", line.value, line.verdict) for line in lines]
    print_table(("substitution", "value", "verdict"), rows, title=title)
    print_table(("can its confidence be trusted?", "value", "good"), describe_trust(card))
    for sentence in (*card.conclusion, describe_scope(card), *card.notes):
        say(sentence)
