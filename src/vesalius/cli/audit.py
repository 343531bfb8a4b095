"""``vesalius audit``: whether prompts matter."""

from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.cli.usage import AsJson, GroupRegex, InPrecision, OnDevice, OutPath, Overwrite, Split
from vesalius.console import print_json, print_table, say, watch
from vesalius.errors import ConfigError
from vesalius.files import write_json
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
    group_regex: GroupRegex = None,
    pictures: int = 3,
    out: OutPath = None,
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Find out whether a model reads its prompts: other words, wrong words, no words, things that are not there.

    With --group-regex intervals draw patients instead of images.

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
        pictures: Of the worst answers, for each of three reasons; needs --out.
        out: Folder for audit.json, audit.md, answers.parquet (a row a substitution) and the pictures.
        as_json: Print one JSON object.
    """
    from vesalius.data.datasets import SegmentationDataset
    from vesalius.evaluation.audit import run
    from vesalius.evaluation.audit.card import fill_card
    from vesalius.evaluation.audit.page import (
        ANSWERS_NAME,
        FILES,
        NUMBERS_NAME,
        PAGE_NAME,
        draw_worst,
        find_worst,
        write_audit_page,
    )
    from vesalius.evaluation.audit.session import write_results
    from vesalius.evaluation.rows import name_clusters
    from vesalius.models.checkpoints import load_segmenter
    from vesalius.models.inference import describe_device, place
    from vesalius.provenance import identify_data, identify_weights, list_versions

    weights = identify_weights(model)
    if pictures < 0:
        raise ConfigError(f"--pictures: expected 0 or more, got {pictures}.")
    dataset = SegmentationDataset(data, split)
    name_clusters([record.img_name for record in dataset.records], group_regex)  # complains now, not after the pass
    trained = place(load_segmenter(model), device, precision)
    computed = describe_device(trained.device, precision)
    asked = {"limit": limit, "absent": absent, "group_regex": group_regex, "pictures": pictures}
    read = {"path": str(data.resolve()), **identify_data(data)}
    origin = {"weights": weights, "data": read, "split": split, **asked, **computed}
    Claim(out, "audit", origin, FILES, overwrite).check()  # complains now, not after the pass
    with watch(f"Questioning {model}", len(run.choose(len(dataset), limit))) as advance:
        found = run.audit(trained, dataset, limit=limit, absent=absent, precision=precision, on_image=advance)
    card = fill_card(found, group_regex=group_regex)
    content = {
        "model": model,
        "data": str(data.resolve()),
        "split": split,
        **computed,
        "versions": list_versions("scipy"),
        **card.to_dict(),
    }
    title = f"{model} on {data.name}, {split}"
    worst = find_worst(found.results, pictures)
    Claim(out, "audit", origin, [*FILES, *(each.picture for each in worst)], overwrite).make()
    if out is not None:
        with watch("Drawing the worst", len(worst)) as advance:
            drawn = draw_worst(
                trained, dataset, found.results, out, count=pictures, precision=precision, on_picture=advance
            )
        write_results(found.results, out / ANSWERS_NAME)
        write_json(out / NUMBERS_NAME, content)
        write_audit_page(card, title, drawn, out / PAGE_NAME)
    if as_json:
        print_json(content)
    else:
        _print_card(card, title)
    if out is not None:
        say(f"{len(found.results)} answers, {len(worst)} pictures of the worst: {out / PAGE_NAME}")


def _print_card(card: "AuditCard", title: str) -> None:
    from vesalius.evaluation.audit.page import describe_scope, describe_trust, group_lines

    rows: list[tuple[object, ...]] = []
    for question, good, lines in group_lines(card.lines):
        rows.append((question, f"good: {good}", ""))
        rows += [(f"  {line.kind}", line.value, line.verdict) for line in lines]
    print_table(("substitution", "value", "verdict"), rows, title=title)
    print_table(("can its confidence be trusted?", "value", "good"), describe_trust(card))
    for sentence in (*card.conclusion, describe_scope(card), *card.notes):
        say(sentence)
