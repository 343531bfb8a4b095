"""The page of experiments/benchmarks/archive_run.py: what it computes from what was measured."""

import pytest

pytest.importorskip("torch", reason="the setting names its version")
pytest.importorskip("psutil", reason="measures memory")
pytest.importorskip("pyarrow", reason="needs the extra archive")


@pytest.fixture(scope="module")
def trial(import_script):
    return import_script("experiments/benchmarks", "archive_run")


def make_facts(slices: int, **more: object) -> dict[str, object]:
    memory = {f"{name}_{when}": 100.0 for name in ("driver", "worker") for when in ("early", "late", "most")}
    spent = {"read": 0.2 * slices / 10, "model": 0.7 * slices / 10, "write": 0.1 * slices / 10, "other": 0.0}
    return {
        "seconds": slices / 20,
        "images": slices,
        "slices": slices,
        "bytes": 300 * slices,
        **spent,
        **memory,
        **more,
    }


def test_the_page_has_pace_shares_equality_and_the_sizing(trial):
    same = {table: {"equal": table == "rows", "rows": 7, "doubled": 0, "missing": 1} for table in ("rows", "masks")}
    kills = {"seconds": 9.0, "workers_killed": 5, "drivers_killed": 2, "runs": 3, "failed": 0}
    facts = {f"ray-{size}": make_facts(size) for size in (10, 20)}
    facts |= {"plain-20": make_facts(20), "naive-10": make_facts(10), "killed-20": kills}
    facts |= {"same-20": same, "after-kills-20": same}
    page = trial.write_page(facts, (10, 20), quick=True)
    assert "| Ray, 2 workers | 20.0 | 20 | 1 |" in page
    assert "| 20 | 1 | 100.0 | 20 % | 70 % | 10 % | 0 % |" in page
    assert "| after kills, masks | 7 | NO | 0 | 1 |" in page
    assert "5 times at random, the driver 2 times; 3 runs" in page
    hours = 10**8 * 0.1 / 3600
    price = hours * trial.DOLLARS_PER_CORE_HOUR
    assert f"| 100,000,000 | {hours:,.0f} |" in page
    assert f"| 27.9 GiB | ${price:,.0f} |" in page


def test_rows_that_are_doubled_or_missing_are_counted(trial, monkeypatch):
    import pyarrow as pa

    columns = {"source": ["a", "b", "b"], "slice": [0, 0, 0], "phrase": ["x", "x", "x"]}
    tables = {"one": pa.table({**columns, "source": ["a", "b", "c"]}), "other": pa.table(columns)}
    monkeypatch.setattr(trial, "load", lambda out, table: tables[out.name])
    found = trial.differences(trial.Path("one"), trial.Path("other"))
    assert found["rows"] == {"equal": False, "rows": 3, "doubled": 1, "missing": 1}
