"""How well and how fast an archive is searched: phrases with known answers, a million vectors, and vector databases.

    python experiments/benchmarks/archive_search.py DATA --work /tmp/archive-search

DATA is the folder with anatomy/ (mednist.tar, series/, DICOM series) and targets/. What a slice shows is known from its
folder. Indexes the archive (slices/s, bytes a slice), searches it by 20 phrases in several ways, chooses the weight of
the vector with each phrase left out in turn, measures latency there and at a million synthetic vectors, and,
where they are installed (pip install lancedb duckdb==1.5.5 duckdb-extension-vss==1.5.5), LanceDB and DuckDB on some of
the same vectors. Every step is kept in --work and not done again; --quick takes some 500 slices and few vectors.
Writes docs/results/archive-search.md.
"""

import argparse
import gc
import importlib.util
import json
import re
import shutil
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from setting import describe_setting

from vesalius.archive.encoding import SliceEncoder
from vesalius.archive.facts import IndexFacts
from vesalius.archive.index import FILES, ArchiveIndex, FileState, IndexedSeries, SlicePlace
from vesalius.archive.indexing import update_index
from vesalius.archive.query import read_where
from vesalius.archive.search import VECTOR_WEIGHT, ArchiveSearch, SearchRequest, cosine_similarities
from vesalius.console import markdown_table
from vesalius.files import read_json, write_json, write_text
from vesalius.knowledge import Knowledge

OUT = Path(__file__).parents[2] / "docs" / "results" / "archive-search.md"
ABDOMEN = "aorta|ct-liver|liver_ct|kits19|ircad-digestive|curvas-abdominal|spleen|hepaticvessel"
TRUNK = "lidc_0314|cmb_crc|rider|acrin_001"
"""CT series of chest and abdomen, which count as right for both."""
BRAIN = "brain_tumour_figshare|brisc202[56]|multiclass-brats2023|multiple-sclerosis|full-head-t1w"
BRAIN_SERIES = (
    "ubermuda|niivue_dicom|cptac_c3n_01196_mr|cptac_c3l_03728_mr|fnndsc|datalad|papaya|rorden|niivue_small|stroket|seg3d"
    "|rembrandt"
)
HEAD_SERIES = "dcmqa_ge_head|invesalius_cranium|cptac_c3n_01192_head|pycerr_hn|onkodicom_rt01"
PHRASES = (
    ("hand X-ray", "mednist/Hand"),
    ("chest X-ray", "mednist/CXR|targets/chest_xray"),
    ("head CT", f"mednist/HeadCT|hemorrhage|series/({HEAD_SERIES})"),
    ("abdominal CT", f"mednist/AbdomenCT|targets/({ABDOMEN})|series/({TRUNK}|ircad17|waw_tace|taichi_ct_0[0-5])"),
    (
        "chest CT",
        f"mednist/ChestCT|chest-ct-s|2d-lung|lung-ct|lung-tumor|aorta|chest_ct/|series/({TRUNK}|onkodicom_rt02|osirix)",
    ),
    ("brain MRI", f"targets/({BRAIN})|brain_mr/|series/({BRAIN_SERIES})"),
    ("sagittal knee MRI", r"knee_mr/|flothesof_knee_0[47]"),
    ("sagittal spine MRI", r"targets/(lumbar-spine|spider)|zohair_cspine_mr_0[567]|taichi_ct_(14|15|22|23|34)"),
    ("knee X-ray", "targets/knee_xray"),
    ("cardiac MRI", "targets/(emidec|heart_mr_acdc|sunnybrook|left-atrial|whole-heart)"),
    ("heart ultrasound", "targets/heart_us"),
    ("axial FLAIR of the brain", r"brain_mr/Flair|multiple-sclerosis|rembrandt|ubermuda_mri_01|stroket1t2flair"),
    ("colonoscopy with a polyp", "targets/endotect_polyp"),
    ("fetal head ultrasound", "targets/fetal_head"),
    ("thyroid ultrasound", "targets/thyroid"),
    ("skin lesion", "targets/skin"),
    ("retinal vessels", "targets/(fives|stare|drishti|smdg)"),
    ("breast MRI", "mednist/BreastMRI|targets/breastdm"),
    ("prostate MRI", "targets/prostate"),
    ("dental panoramic X-ray", "targets/dental"),
)
"""Phrase -> paths of all slices that answer it."""
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Weights of the vector beside labels that are tried; 0 is labels and headers alone."""
AT_ONCE = 50_000
"""Synthetic vectors that are written together."""
SLICES_A_SERIES = 250
ASKED = 20
"""Searches by which latency and recall are measured."""


class Steps:
    """Results of finished steps, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, object] = dict(read_json(path)) if path.is_file() else {}  # type: ignore[call-overload]

    def do(self, name: str, step: Callable[[], object]) -> object:
        """The result of a step, which is done if it was not."""
        if name not in self.found:
            print(name, flush=True)
            self.found[name] = step()
            write_json(self._path, self.found)
        return self.found[name]


def gather(data: Path, archive: Path, pictures: int, most: int | None, step: int) -> None:
    """Copy what is indexed into one folder: no masks or label maps, and series.json as headers beside the volumes.

    Args:
        data: See the script's help.
        archive: The folder.
        pictures: About so many of MedNIST.
        most: Most pictures of each folder of targets; None for all.
        step: Every so many volumes and DICOM files.
    """
    anatomy = data / "anatomy"
    facts = read_json(anatomy / "series" / "series.json")
    for row in facts[::step]:  # type: ignore[index]
        copy(anatomy / "series" / row["file"], archive / "series" / row["file"])
        header = {**row["header"], **({"Modality": row["modality"]} if row["modality"] else {})}
        write_json(archive / "series" / row["file"].replace(".nii.gz", ".json"), header)
    for name in ("knee_mr", "brain_mr", "chest_ct"):
        for file in sorted(path for path in (anatomy / name).rglob("*") if path.is_file())[::step]:
            copy(file, archive / file.relative_to(anatomy))
    for home in sorted((data / "targets").iterdir()):
        for file in sorted((home / "images").iterdir())[:most]:
            copy(file, archive / "targets" / home.name / file.name)
    with tarfile.open(anatomy / "mednist.tar") as tar:
        members = sorted((each for each in tar.getmembers() if each.isfile()), key=lambda each: each.name)
        for member in members[:: max(1, len(members) // pictures)]:
            if not (archive / "mednist" / member.name).exists():
                tar.extract(member, archive / "mednist", filter="data")


def copy(source: Path, target: Path) -> None:
    """Copy a file that is not there yet."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def index_archive(archive: Path, folder: Path, encoder: SliceEncoder) -> dict[str, float]:
    """Bring the index up to date; a run that was killed counts only what was left."""
    started, cpu = time.perf_counter(), time.process_time()
    report = update_index(archive, folder, encoder)
    seconds, again = time.perf_counter() - started, time.perf_counter()
    used = time.process_time() - cpu
    update_index(archive, folder, encoder)
    size = {name: (folder / name).stat().st_size for name in FILES}
    return {
        "slices": report.slices,
        "places": report.places,
        "encoded": report.encoded,
        "failures": len(report.failures),
        "seconds": seconds,
        "cpu": used,
        "again_seconds": time.perf_counter() - again,
        **{f"bytes {name}": count / report.slices for name, count in size.items()},
    }


def measure_phrases(index: ArchiveIndex, encoder: SliceEncoder) -> dict[str, object]:
    """Precision at 10 of each phrase, by the phrase's vector alone, and by labels with each weight of the vector.

    Where fewer than ten slices are right, it is the share of those that are found.
    """
    learnt, paths = Knowledge.read("pocket"), list(places_of(index))
    rows = []
    for phrase, pattern in PHRASES:
        right = re.compile(pattern)
        there = sum(bool(right.search(path)) for path in paths)
        searches = {f"weight {weight:g}": ArchiveSearch(index, encoder, learnt, weight) for weight in WEIGHTS}
        asked = {name: (search, SearchRequest(phrase)) for name, search in searches.items()}
        whole = SearchRequest(like=encoder.encode_phrase(phrase))
        asked["vector"] = (searches["weight 1"], whole)
        reading = searches["weight 1"].read(phrase)
        row: dict[str, object] = {
            "phrase": phrase,
            "labels": [label for _, label in reading.labels],
            "targets": reading.words("target"),
            "unknown": reading.words("unknown"),
            "header": reading.words("header"),
            "relevant": there,
        }
        for name, (search, request) in asked.items():
            _, answers = search.search(request)
            hits = [any(right.search(each.place.file) for each in answer.places) for answer in answers]
            row[name] = sum(hits) / min(10, max(1, there))
        rows.append(row)
    return {"rows": rows}


def places_of(index: ArchiveIndex) -> Iterator[str]:
    """One path of every slice."""
    dead = set(index.holes().tolist())
    return (index.places(row)[0].place.file for row in range(index.rows) if row not in dead)


def mean(rows: Sequence[dict[str, object]], name: str) -> float:
    """Mean of one column."""
    return statistics.mean(float(str(row[name])) for row in rows)


def measure_latency(index: ArchiveIndex, encoder: SliceEncoder) -> dict[str, float]:
    """Median milliseconds of a search in an open index, model loaded, of several kinds."""
    learnt = Knowledge.read("pocket")
    picture = np.asarray(index.vectors()[0], np.float32)
    kinds = {
        "phrase of labels": [SearchRequest(phrase) for phrase, _ in PHRASES],
        "picture": [SearchRequest(like=picture)] * ASKED,
        "picture, where modality=MR": [SearchRequest(like=picture, where=read_where(["modality=MR"]))] * ASKED,
    }
    started = time.perf_counter()
    search = ArchiveSearch(index, encoder, learnt)
    found = {"open": 1000 * (time.perf_counter() - started)}
    for name, requests in kinds.items():
        search.search(requests[0])
        found[name] = statistics.median(timed(search, each) for each in requests)
    return found


def timed(search: ArchiveSearch, request: SearchRequest) -> float:
    """Milliseconds of one search."""
    started = time.perf_counter()
    search.search(request)
    return 1000 * (time.perf_counter() - started)


def synthesise(real: ArchiveIndex, folder: Path, count: int) -> dict[str, float]:
    """Make an index of real vectors with noise, so that neighbours lie as they do in an archive."""
    vectors, labels = np.asarray(real.vectors(), np.float32), np.asarray(real.labels())
    rng = np.random.default_rng(0)
    shutil.rmtree(folder, ignore_errors=True)
    facts = IndexFacts("/synthetic", real.facts.model, real.facts.weights, real.facts.width, real.facts.labels)
    started = time.perf_counter()
    with ArchiveIndex.create(folder, facts) as index:
        for first in range(0, count, AT_ONCE):
            some = min(AT_ONCE, count - first)
            chosen = rng.integers(0, len(vectors), some)
            noisy = vectors[chosen] + rng.normal(0, 0.3 / np.sqrt(vectors.shape[1]), (some, vectors.shape[1]))
            noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
            keys = [int(number).to_bytes(16, "big") for number in range(first, first + some)]
            with index.changing():
                rows = list(index.append(keys, noisy.astype(np.float16), labels[chosen], []).values())
                for start in range(0, some, SLICES_A_SERIES):
                    add_series(index, (first + start) // SLICES_A_SERIES, rows[start : start + SLICES_A_SERIES])
    seconds = time.perf_counter() - started
    return {
        "slices": count,
        "seconds": seconds,
        **{f"bytes {name}": (folder / name).stat().st_size / count for name in FILES},
    }


def add_series(index: ArchiveIndex, number: int, rows: Sequence[int]) -> None:
    """A series with a DICOM file a slice, with paths of a usual length."""
    files = [f"patient-{number // 4:06d}/study-{number // 2:07d}/{number:08d}/IM-{row:09d}.dcm" for row in rows]
    header = {"Modality": "MR", "SeriesDescription": f"t2_tse_sag_{number % 50}", "BodyPartExamined": "KNEE"}
    states = tuple(FileState(file, 131_072, number) for file in files)
    places = [
        SlicePlace(1, place, row, file) for place, (row, file) in enumerate(zip(rows, files, strict=True), start=1)
    ]
    index.add_series(IndexedSeries(states, f"{number:032x}", header), places)


def make_queries(index: ArchiveIndex) -> np.ndarray:
    """Unit vectors near rows of the index, as those of new pictures are, [ASKED, E]."""
    rng = np.random.default_rng(1)
    rows = np.sort(rng.integers(0, index.rows, ASKED))
    near = np.asarray(index.vectors()[rows], np.float32) + rng.normal(0, 0.01, (ASKED, index.facts.width))
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)


def find_exactly(vectors: np.ndarray, queries: np.ndarray) -> tuple[list[set[int]], float]:
    """The ten nearest rows of each query in 32 bits, and the median milliseconds of the search in 16 bits."""
    exact, seconds, every = [], [], np.arange(len(vectors))
    whole = np.asarray(vectors, np.float32)
    for query in queries:
        exact.append(set(np.argsort(-(whole @ query))[:10].tolist()))
    del whole
    gc.collect()
    for query in queries:
        started = time.perf_counter()
        np.argpartition(-cosine_similarities(vectors, query, every), 10)[:10]
        seconds.append(time.perf_counter() - started)
    return exact, 1000 * statistics.median(seconds)


def measure_exact(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Exact search in 16 bits, against 32 bits."""
    exact, latency = find_exactly(vectors, queries)
    every = np.arange(len(vectors))
    found = [set(np.argsort(-cosine_similarities(vectors, query, every))[:10].tolist()) for query in queries]
    return {
        "vectors": len(vectors),
        "recall": recall(found, exact),
        "ms": latency,
        "bytes": 2 * vectors.shape[1],
        "build": 0.0,
    }


def recall(found: Sequence[set[int]], exact: Sequence[set[int]]) -> float:
    """Share of the ten nearest that were found."""
    return statistics.mean(len(one & other) / 10 for one, other in zip(found, exact, strict=True))


def measure_lancedb(vectors: np.ndarray, queries: np.ndarray, work: Path) -> list[dict[str, object]]:
    """LanceDB without an index, and with two kinds of index."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import HnswSq, IvfPq

    exact, _ = find_exactly(vectors, queries)
    shutil.rmtree(work / "lance", ignore_errors=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1])
    rows = pa.table({"id": pa.array(np.arange(len(vectors))), "vector": column})
    started = time.perf_counter()
    table = lancedb.connect(work / "lance").create_table("slices", rows)
    loaded = time.perf_counter() - started
    found = [ask_lancedb("LanceDB, no index", table, queries, exact, work, loaded, {})]
    for name, config, options in (
        ("LanceDB IVF_PQ", IvfPq(distance_type="cosine"), {"nprobes": 20}),
        ("LanceDB IVF_PQ, refined", None, {"nprobes": 50, "refine_factor": 10}),
        ("LanceDB IVF_HNSW_SQ", HnswSq(distance_type="cosine"), {"nprobes": 20}),
        ("LanceDB IVF_HNSW_SQ, refined", None, {"nprobes": 50, "refine_factor": 5}),
    ):
        started = time.perf_counter()
        if config is not None:
            table.create_index("vector", config=config, replace=True)
        built = time.perf_counter() - started if config is not None else float(str(found[-1]["build"]))
        found.append(ask_lancedb(name, table, queries, exact, work, built, options))
    return found


def ask_lancedb(
    name: str,
    table: object,
    queries: np.ndarray,
    exact: Sequence[set[int]],
    work: Path,
    built: float,
    options: dict[str, int],
) -> dict[str, object]:
    """Recall and latency of one way to ask LanceDB."""
    found, seconds = [], []
    for query in queries:
        started = time.perf_counter()
        asked = table.search(query.astype(np.float16)).distance_type("cosine")  # type: ignore[attr-defined]
        for option, value in options.items():
            asked = getattr(asked, option)(value)
        rows = asked.select(["id", "_distance"]).limit(10).to_arrow()
        seconds.append(time.perf_counter() - started)
        found.append(set(rows["id"].to_pylist()))
    size = sum(path.stat().st_size for path in (work / "lance").rglob("*") if path.is_file())
    count = table.count_rows()  # type: ignore[attr-defined]
    ms = 1000 * statistics.median(seconds)
    return {
        "name": name,
        "vectors": count,
        "recall": recall(found, exact),
        "ms": ms,
        "bytes": size / count,
        "build": built,
    }


def measure_duckdb(vectors: np.ndarray, queries: np.ndarray, work: Path) -> list[dict[str, object]]:
    """DuckDB without an index, and with the HNSW index of its extension vss."""
    import duckdb
    import duckdb_extension_vss
    import pyarrow as pa

    exact, _ = find_exactly(vectors, queries)
    path, width = work / "vectors.duckdb", vectors.shape[1]
    path.unlink(missing_ok=True)
    extension = next(Path(duckdb_extension_vss.__file__).parent.rglob("vss.duckdb_extension"))
    database = duckdb.connect(str(path))
    database.execute(f"LOAD '{extension}'")
    database.execute("SET hnsw_enable_experimental_persistence = true")
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors, np.float32).ravel()), width)
    rows = pa.table({"id": pa.array(np.arange(len(vectors))), "vector": column})
    started = time.perf_counter()
    database.register("given", rows)
    database.execute(f"CREATE TABLE slices AS SELECT id, vector::FLOAT[{width}] AS vector FROM given")
    database.execute("CHECKPOINT")
    loaded = time.perf_counter() - started
    found = [ask_duckdb("DuckDB, no index", database, queries, exact, path, loaded)]
    started = time.perf_counter()
    database.execute("CREATE INDEX near ON slices USING HNSW (vector) WITH (metric = 'cosine')")
    database.execute("CHECKPOINT")
    found.append(ask_duckdb("DuckDB vss, HNSW", database, queries, exact, path, time.perf_counter() - started))
    database.close()
    return found


def ask_duckdb(
    name: str, database: object, queries: np.ndarray, exact: Sequence[set[int]], path: Path, built: float
) -> dict[str, object]:
    """Recall and latency of DuckDB as it is."""
    width = queries.shape[1]
    query = f"SELECT id FROM slices ORDER BY array_cosine_distance(vector, ?::FLOAT[{width}]) LIMIT 10"
    found, seconds = [], []
    for vector in queries:
        started = time.perf_counter()
        rows = database.execute(query, [vector.tolist()]).fetchall()  # type: ignore[attr-defined]
        seconds.append(time.perf_counter() - started)
        found.append({number for (number,) in rows})
    count = database.execute("SELECT count(*) FROM slices").fetchone()[0]  # type: ignore[attr-defined]
    ms = 1000 * statistics.median(seconds)
    size = path.stat().st_size / count
    return {"name": name, "vectors": count, "recall": recall(found, exact), "ms": ms, "bytes": size, "build": built}


def main() -> None:
    """Do what is left, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("archive-search-work"), help="folder for all that is kept")
    parser.add_argument("--quick", action="store_true", help="some 500 slices, and 20,000 vectors")
    parser.add_argument("--vectors", type=int, default=1_000_000, help="synthetic vectors")
    parser.add_argument("--compared", type=int, default=100_000, help="vectors that databases are given")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    count, compared = (20_000, 5_000) if asked.quick else (asked.vectors, asked.compared)
    work = asked.work / ("quick" if asked.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    encoder = SliceEncoder.open("pocket")
    steps = Steps(work / f"results-{encoder.weights[:12]}.json")
    archive, folder, synthetic = work / "archive", work / f"index-{encoder.weights[:12]}", work / "synthetic"
    gather(asked.data, archive, *((100, 4, 8) if asked.quick else (5_900, None, 1)))
    steps.do("index", lambda: index_archive(archive, folder, encoder))
    with ArchiveIndex.open(folder) as index:
        steps.do("phrases", lambda: measure_phrases(index, encoder))
        steps.do("latency", lambda: measure_latency(index, encoder))
        steps.do("synthetic", lambda: synthesise(index, synthetic, count))
    with ArchiveIndex.open(synthetic) as large:
        steps.do("latency large", lambda: measure_latency(large, encoder))
        queries = make_queries(large)
        steps.do("exact large", lambda: measure_exact(large.vectors(), queries))
        some = np.asarray(large.vectors()[:compared])
        near = queries if len(some) == large.rows else nearby(some)
        steps.do("exact compared", lambda: measure_exact(some, near))
        for name, module, measure in (
            ("lancedb", "lancedb", measure_lancedb),
            ("duckdb", "duckdb_extension_vss", measure_duckdb),
        ):
            if importlib.util.find_spec(module) is not None:
                steps.do(name, partial(measure, some, near, work))
    write_text(asked.out, render(steps.found, asked.quick))
    print(asked.out)


def nearby(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors near some of these."""
    rng = np.random.default_rng(2)
    near = vectors[rng.integers(0, len(vectors), ASKED)] + rng.normal(0, 0.01, (ASKED, vectors.shape[1]))
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)


def render(found: dict[str, object], quick: bool) -> str:
    """The page of results."""
    content = json.loads(json.dumps(found))
    index, large, exact = content["index"], content["synthetic"], content["exact large"]
    warning = "**A quick run: few slices and vectors. The numbers only show that the benchmark works.**\n\n"
    return f"""# Searching an archive, measured

Written by `python experiments/benchmarks/archive_search.py DATA{" --quick" if quick else ""}`:
{describe_setting()}.

{warning if quick else ""}## Phrases with known answers

{index["slices"]:,} slices at {index["places"]:,} places: pictures of MedNIST, of the data sets in `targets/`, CT and MR
series. What a slice shows is known from its folder; CT series of the whole trunk count as chest and as abdomen.
Series have headers, pictures have none. pocket's naming learnt from many of these pictures, so this measures search,
not how well strangers' slices are named ([that](pocket-naming.md) is measured on people left out). Precision@10 is the
share of right ones among the first ten, or of as many as there are.

{render_phrases(content["phrases"])}

## Time

{index["encoded"]:,} slices were encoded in {index["seconds"]:.0f} s,
{index["encoded"] / index["seconds"]:.1f} a second and {1000 * index["cpu"] / max(1, index["encoded"]):.0f} ms of
processors each, reading included; the same command again, with nothing new, took {index["again_seconds"]:.1f} s.
Milliseconds of a search, index open and model loaded:

{render_latency(content, index["slices"], large["slices"])}

Opening it reads the headers of its series: {content["latency large"]["open"]:.0f} ms at {large["slices"]:,} slices.
Synthetic vectors are real ones with noise, 250 a series. Of the ten nearest by 32-bit numbers, search in 16 bits finds
{exact["recall"]:.3f} at {exact["vectors"]:,} vectors.

## Bytes a slice

{render_sizes(index, large)}

## Vector databases

{content["exact compared"]["vectors"]:,} of the synthetic vectors; recall@10 against exact search in 32 bits, medians of
{ASKED} queries. Build is what comes on top of having the vectors; rows without an index say how long loading took.

{render_engines(content)}

LanceDB is Apache-2.0 and takes 180 MB installed, beside pydantic and pyarrow; DuckDB is MIT. Why neither is used:
[Searching an archive](../archive-search.md#why-there-is-no-vector-database).
"""


def render_phrases(phrases: dict[str, object]) -> str:
    """The ways to score, and every phrase."""
    content = json.loads(json.dumps(phrases))
    used, asked = f"weight {VECTOR_WEIGHT:g}", content["rows"]
    told = {"vector": "the phrase's vector alone", "weight 0": "labels and headers alone"}
    names = [f"weight {weight:g}" for weight in WEIGHTS]
    told |= {name: f"labels, and {name.split()[1]} of the vector" for name in names if name not in told}
    ways = [(told[name], f"{mean(asked, name):.2f}") for name in ("vector", *names)]
    left_out = statistics.mean(row[choose(names, [each for each in asked if each is not row])] for row in asked)
    shown = ("vector", "weight 0", used)
    rows = [(*tell_reading(row), row["relevant"], *(f"{row[name]:.1f}" for name in shown)) for row in asked]
    rows.append(("mean", None, None, None, *(f"{mean(asked, name):.2f}" for name in shown)))
    columns = ("phrase", "read as", "not understood", "right slices", "vector", "labels", "in use")
    ranking = markdown_table(("score", f"mean of {len(asked)} phrases"), ways, align="---:")
    return (
        f"{ranking}\n\nWith the weight chosen for each phrase by the others: {left_out:.2f}. Best of all: "
        f"{told[choose(names, asked)]}. In use: {told[used]}.\n\n{markdown_table(columns, rows)}\n\n"
        "A word for which there is no label is left to the vector, which was learnt for naming: it knows little of "
        "what pocket outlines."
    )


def choose(names: Sequence[str], rows: Sequence[dict[str, object]]) -> str:
    """The column with the highest mean."""
    return max(names, key=lambda name: mean(rows, name))


def tell_reading(row: dict[str, object]) -> tuple[object, ...]:
    """A phrase, how it is read, and what is not understood."""
    content = json.loads(json.dumps(row))
    words = [*content["labels"], *content["targets"], *(f"“{word}” in headers" for word in content["header"])]
    return content["phrase"], ", ".join(words) or None, ", ".join(content["unknown"]) or None


def render_latency(content: dict[str, object], real: int, synthetic: int) -> str:
    """Milliseconds by kind of search."""
    small, large = (json.loads(json.dumps(content[name])) for name in ("latency", "latency large"))
    rows = [(name, f"{small[name]:.0f}", f"{large[name]:.0f}") for name in small if name != "open"]
    return markdown_table(("search by", f"{real:,} real slices", f"{synthetic:,} synthetic"), rows, align="---:")


def render_sizes(real: dict[str, float], large: dict[str, float]) -> str:
    """Bytes by file."""
    names = [f"bytes {name}" for name in FILES]
    rows: list[tuple[str, ...]] = [
        (name.removeprefix("bytes "), f"{real[name]:.0f}", f"{large[name]:.0f}") for name in names
    ]
    rows.append(("together", *(f"{sum(each[name] for name in names):.0f}" for each in (real, large))))
    return markdown_table(("file", "real", "synthetic, a DICOM file each"), rows, align="---:")


def render_engines(content: dict[str, object]) -> str:
    """Exact search beside the databases."""
    found = json.loads(json.dumps(content))
    kept = {"name": "exact, 16 bits (kept)", **found["exact compared"]}
    rows = [
        (each["name"], f"{each['build']:.0f}", f"{each['ms']:.1f}", f"{each['recall']:.3f}", f"{each['bytes']:.0f}")
        for each in (kept, *found.get("lancedb", []), *found.get("duckdb", []))
    ]
    return markdown_table(("engine", "build s", "query ms", "recall@10", "bytes a slice"), rows, align="---:")


if __name__ == "__main__":
    main()
