"""Names on disk: one row a slice and one a series, as CSV or Parquet, or everything in one JSON object."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vesalius.errors import ConfigError
from vesalius.files import to_utf8, write_json, writing
from vesalius.naming.names import Answer, SeriesName, SliceName
from vesalius.prompts.anatomy import ORGANS, STATIONS

Row = Mapping[str, str | int | float | None]
SUFFIXES = (".csv", ".json", ".parquet")
NUMBERS = (")", "_mm", "_probability", "obliquity")
"""How columns of real numbers end; all others but ``_KINDS`` are text, even where every value is missing."""
_KINDS = {"slice": "int64", "slices": "int64", "stacks": "int64"}


def check_table(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of ours.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}, got '{path.suffix}'.")


def table_files(path: Path) -> list[Path]:
    """What ``write_table`` writes."""
    return [path] if path.suffix.lower() == ".json" else [path, path.with_name(f"{path.stem}.series{path.suffix}")]


def write_table(path: Path, series: Sequence[SeriesName], content: Mapping[str, object]) -> list[Path]:
    """Write what was named.

    Args:
        path: A .json file gets ``content``; results.csv and results.parquet a row a slice, with results.series.csv or
            results.series.parquet beside them a row a series.
        series: What was named, one or more.
        content: All of it, ready for JSON.

    Returns:
        The files written.

    Raises:
        ConfigError: If the suffix is none of ``SUFFIXES``.
        OutputError: If a file cannot be written.
    """
    check_table(path)
    files = table_files(path)
    if path.suffix.lower() == ".json":
        write_json(path, content)
        return files
    write = _WRITERS[path.suffix.lower()]
    write(path, [_slice_row(each, one) for each in series for one in each.slices])
    write(files[1], [_series_row(each) for each in series])
    return files


def _slice_row(series: SeriesName, one: SliceName) -> Row:
    return {
        "source": str(series.source),
        "series_uid": series.header.get("SeriesInstanceUID"),
        "slice": one.index,
        "position_mm": one.position_mm,
        "plane": one.plane,
        "stations": ";".join(one.stations),
        "organs": ";".join(one.organs),
        **{f"p({label})": one.station_probabilities.get(label) for label in STATIONS},
        **{f"p({label})": one.organ_probabilities.get(label) for label in ORGANS},
    }


def _series_row(series: SeriesName) -> Row:
    codes = series.codes
    return {
        "source": str(series.source),
        "series_uid": series.header.get("SeriesInstanceUID"),
        "slices": len(series.slices),
        "stacks": series.stacks,
        "purpose": series.purpose.label,
        **_answer("modality", series.modality),
        **_answer("protocol", series.protocol),
        **_answer("plane", series.plane),
        "obliquity": series.obliquity,
        "stations": ";".join(dict.fromkeys(each.label for each in series.stations if each.label)),
        "organs": ";".join(dict.fromkeys(each.label for each in series.organs if each.label)),
        "body_part": codes.body_part,
        "region_sct": codes.region.value if codes.region else None,
        "ihe_regions": ";".join(each.value for each in codes.ihe_regions),
        "header_body_part": series.header.get("BodyPartExamined"),
        "calibrated": ";".join(series.calibrated),
    }


def _answer(name: str, answer: Answer) -> Row:
    return {
        name: answer.label,
        f"{name}_source": answer.source,
        f"{name}_evidence": answer.evidence or None,
        f"{name}_probability": answer.confidence if answer.probability is None else answer.probability,
    }


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with (
        writing(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(map(to_utf8, rows))


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa  # loads slowly, and most tables are CSV
    import pyarrow.parquet as pq

    kinds = {name: _KINDS.get(name, "float64" if name.endswith(NUMBERS) else "string") for name in rows[0]}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    table = pa.Table.from_pylist([to_utf8(row) for row in rows], schema=schema)
    with writing(path) as unfinished:
        pq.write_table(table, unfinished)


_WRITERS: Mapping[str, Callable[[Path, Sequence[Row]], None]] = {".csv": _write_csv, ".parquet": _write_parquet}
