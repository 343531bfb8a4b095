"""Compare generated attributes with the benchmark's own words; rewrites the measured part of docs/prompts.md.

    python experiments/benchmarks/attributes.py ../shared/data/segmentation

Thresholds were chosen on the training splits, and were fixed before the test splits were scored.
"""

import argparse
import os
import platform
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vesalius import __version__
from vesalius.console import progress_bar
from vesalius.data.annotations import ImageRecord, read_annotations
from vesalius.data.catalog import read_catalog
from vesalius.data.prompting import PromptPlan, generate_prompts
from vesalius.files import write_text
from vesalius.imaging import read_image, read_mask
from vesalius.prompts import RULES, read_templates, variants
from vesalius.prompts.attributes import Measurements, describe_measurements, measure

POLYPS = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp")
SPLITS = ("train", "val", "test")
ATTRIBUTES = ("number", "size", "location", "shape", "colour")
SAME_SHAPE = {"ovoid": "oval", "triangle": "triangular", "rectangle": "rectangular"}
"""Other spellings of one shape; "a circle", "it is round" and "heart shape" lose what is not the word."""
LISTED = 6
"""Disagreements shown of each attribute."""
REPEATED = 3
"""Runs of which the fastest is told; others may use the machine."""
OUT = Path(__file__).parents[2] / "docs" / "prompts.md"
MARK = "<!-- measured by experiments/benchmarks/attributes.py: what follows is overwritten -->"

Words = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A record with an object: the benchmark's words, and what is measured."""

    data: str
    split: str
    words: Words
    measured: Measurements


def main() -> None:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    polyps, left_out = measure_all(args.root, POLYPS, read_polyp_words)
    tumours, _ = measure_all(args.root, ("busi",), read_tumour_words)
    speed = measure_speed(args.root / "kvasir_polyp")
    page = args.out.read_text(encoding="utf-8").split(MARK)[0]
    write_text(args.out, page + MARK + "\n\n" + results(polyps, tumours, left_out, speed))


def measure_all(
    root: Path, names: Sequence[str], read_words: Callable[[ImageRecord], Words | None]
) -> tuple[list[Case], int]:
    """Every record with words, and how many there are without."""
    cases, without = [], 0
    with progress_bar() as bar:
        for name in names:
            for split in SPLITS:
                records = read_annotations(root / name / "anns" / f"{split}.json")
                for record in bar.track(records, description=f"{name}, {split}"):
                    words = read_words(record)
                    rgb = read_image(root / name / "images" / record.img_name).slices()[0].rgb
                    measured = measure(read_mask(root / name / "masks" / record.mask_name), rgb)
                    if words is None or measured is None:
                        without += 1
                    else:
                        cases.append(Case(name, split, words, measured))
    return cases, without


def read_polyp_words(record: ImageRecord) -> Words | None:
    """The words by which one family differs from that before it; None for "no polyp"."""
    prompts = [variants(record.prompts, f"p{number}")[0] for number in range(1, 7)]
    if prompts[0] != "polyp":
        return None
    shape, colour, size, number = (
        later.removesuffix(earlier).strip() for earlier, later in zip(prompts, prompts[1:5], strict=False)
    )
    location = prompts[5].removeprefix(f"{prompts[4]}, located in ").removesuffix(" of the image")
    return {"number": number, "size": size, "location": location, "shape": spell_shape(shape), "colour": colour}


def read_tumour_words(record: ImageRecord) -> Words | None:
    """The words of BUSI's p6; None for "No tumor …"."""
    form = r"(?P<number>\w+) (?P<size>\w+(?:, \w+)*) (?P<shape>.+?)-shaped \w+ tumors? at the (?P<location>.+) in the"
    found = re.match(form, variants(record.prompts, "p6")[0])
    if found is None:
        return None
    return {**found.groupdict(), "number": found["number"].lower(), "shape": spell_shape(found["shape"])}


def spell_shape(shape: str) -> str:
    """One spelling for each shape."""
    word = re.sub(r"^(?:it is )?(?:an? )?|(?: shaped?)$", "", shape)
    return SAME_SHAPE.get(word, word)


def measure_speed(folder: Path) -> tuple[float, int]:
    """Images a second of `vesalius prompts generate`, reading and writing included, and how many they were."""
    plan = PromptPlan(read_templates(), RULES["plain"], "polyp", replace=True)
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(REPEATED):
            start = time.perf_counter()
            report = generate_prompts(folder, "train", plan, out=Path(out))
            seconds.append(time.perf_counter() - start)
    return report.written / min(seconds), report.written


def agreement(cases: Sequence[Case], attribute: str, rules: str) -> float:
    """Share of cases with the benchmark's very words."""
    same: list[bool] = [
        each.words[attribute] == getattr(describe_measurements(each.measured, RULES[rules]), attribute)
        for each in cases
    ]
    return sum(same) / len(same)


def commonest(cases: Sequence[Case], train: Sequence[Case], attribute: str) -> float:
    """Agreement of always saying what the training split says most often."""
    word = Counter(each.words[attribute] for each in train).most_common(1)[0][0]
    return sum(each.words[attribute] == word for each in cases) / len(cases)


def results(polyps: Sequence[Case], tumours: Sequence[Case], left_out: int, speed: tuple[float, int]) -> str:
    """The measured part of the page."""
    today = datetime.now(UTC).date().isoformat()
    hardware = f"{os.cpu_count()} CPU cores ({platform.machine()}), one process"
    lines = [
        f"Written by `python experiments/benchmarks/attributes.py ../shared/data/segmentation` on {today}; "
        f"vesalius {__version__}, "
        f"{hardware}. Images scaled to 384 px. {len(polyps) + left_out:,} polyp records, of which {left_out} have no "
        f"polyp and no words. `prompts generate` described {speed[0]:.0f} images/s ({speed[1]} of Kvasir-SEG, the "
        f"fastest of {REPEATED} runs).",
        "",
        f"Specks, parts under 0.01 % of the image: {_count_specks(polyps)}.",
        "",
        "Agreement is the share of records with exactly the benchmark's words, all places of all parts included; "
        "*commonest* always says what the data set's training split says most often.",
        "",
        "| data set | split | records | attribute | benchmark rules | plain rules | commonest |",
        "|---|---|---|---|---|---|---|",
        *_agreement_rows(polyps, ATTRIBUTES),
        *_agreement_rows(tumours, ATTRIBUTES[:4]),
        "",
        "All three polyp sets together:",
        "",
        "| split | " + " | ".join(ATTRIBUTES) + " |",
        "|---" * (len(ATTRIBUTES) + 1) + "|",
        *_pooled_rows(polyps),
        "",
        f"What disagrees most often on the polyp sets' test splits, benchmark rules ({LISTED} commonest pairs):",
        "",
        "| attribute | disagree | the benchmark's word → ours (times) |",
        "|---|---|---|",
        *_confusion_rows([each for each in polyps if each.split == "test"]),
    ]
    return "\n".join(lines) + "\n"


def _count_specks(cases: Sequence[Case]) -> str:
    """How many masks of each data set have one."""
    counts = []
    for name in dict.fromkeys(each.data for each in cases):
        masks = [each.measured.parts for each in cases if each.data == name]
        specked = sum(any(part.share < RULES["plain"].speck for part in parts) for parts in masks)
        counts.append(f"{specked} of {len(masks)} masks of {read_catalog()[name].title}")
    return ", ".join(counts)


def _agreement_rows(cases: Sequence[Case], attributes: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(each.data for each in cases):
        train = [each for each in cases if each.data == name and each.split == "train"]
        for split in SPLITS:
            rows = [each for each in cases if each.data == name and each.split == split]
            for attribute in attributes:
                values = [agreement(rows, attribute, rules) for rules in ("benchmark", "plain")]
                cells = " | ".join(f"{value:.3f}" for value in [*values, commonest(rows, train, attribute)])
                yield f"| {read_catalog()[name].title} | {split} | {len(rows)} | {attribute} | {cells} |"


def _pooled_rows(cases: Sequence[Case]) -> Iterator[str]:
    for split in SPLITS:
        rows = [each for each in cases if each.split == split]
        for rules in ("benchmark", "plain"):
            cells = " | ".join(f"{agreement(rows, attribute, rules):.3f}" for attribute in ATTRIBUTES)
            yield f"| {split} ({len(rows)}), {rules} rules | {cells} |"


def _confusion_rows(cases: Sequence[Case]) -> Iterator[str]:
    for attribute in ATTRIBUTES:
        pairs = (
            (each.words[attribute], getattr(describe_measurements(each.measured, RULES["benchmark"]), attribute))
            for each in cases
        )
        wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
        listed = "; ".join(f"{theirs} → {ours} ({times})" for (theirs, ours), times in wrong.most_common(LISTED))
        yield f"| {attribute} | {wrong.total()} of {len(cases)} | {listed} |"


if __name__ == "__main__":
    main()
