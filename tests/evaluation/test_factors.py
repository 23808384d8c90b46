"""Tables of runs: read in every format alike, and refused with the line that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefine.errors import RecordError, StatisticError
from prefine.evaluation.factors import read_runs

ROWS = [
    {"data": data, "loss": loss, "seed": seed, "reward": value, "note": "not read"}
    for seed in (1, 2)
    for (data, loss), value in zip(
        [("noisy", "dpo"), ("noisy", "ipo"), ("clean", "dpo"), ("clean", "ipo")],
        (1.0, 2.0, 4.0, 4.5), strict=True,
    )
]  # fmt: skip


def lines(path: Path, rows: list[dict[str, Any]], comma: str = ",") -> Path:
    if path.suffix == ".jsonl":
        text = "\n".join(map(json.dumps, rows))
    else:
        text = "\n".join(
            comma.join(map(str, cells)) for cells in [rows[0], *map(dict.values, rows)]
        )
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> Any:
    return read_runs(path, ["data", "loss"], "reward", **options)


@pytest.mark.parametrize(("name", "comma"), [("a.csv", ","), ("a.tsv", "\t"), ("a.jsonl", "")])
def test_all_formats_say_the_same(name: str, comma: str, tmp_path: Path) -> None:
    found = read(lines(tmp_path / name, ROWS, comma))
    assert found.levels == {"data": ["noisy", "clean"], "loss": ["dpo", "ipo"]}
    assert found.runs[1] == {"data": "noisy", "loss": "ipo", "seed": "1", "reward": 2.0}


def test_any_level_may_be_the_first(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.csv", ROWS)
    assert read(path, against={"data": "clean"}).levels["data"] == ["clean", "noisy"]
    with pytest.raises(StatisticError, match=r"against data=pure.*data: noisy, clean"):
        read(path, against={"data": "pure"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": "nan"}, "line 4: 'reward' must be a finite number, got \"nan\""),
        ({"reward": ""}, "line 4: 'reward' must be a finite number"),
        ({"data": ""}, "line 4: 'data' must be a word or a number"),
        ({"data": "noisy"}, "line 4 repeats runs.csv, line 2: data noisy, loss dpo, seed 1"),
    ],
)
def test_a_wrong_row_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows = [*ROWS[:2], {**ROWS[2], **change}, *ROWS[3:]]
    with pytest.raises(RecordError, match=message):
        read(lines(tmp_path / "runs.csv", rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"data": "a", "loss": "b", "reward": 1}', "line 1: there is no column 'seed'; there are"),
        (
            '{"data": null, "loss": "b", "reward": 1, "seed": 0}',
            "'data' must be a word or a number",
        ),
        ('{"data": 1, "loss": "b", "reward": true, "seed": 0}', "finite number, got true"),
        ('{"data": ', "line 1: not JSON"),
    ],
)
def test_a_wrong_line_of_json_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=message):
        read(tmp_path / "runs.jsonl")


def test_rows_of_another_width_are_named(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("data,loss,reward,seed\na,b,1\n", encoding="utf-8")
    with pytest.raises(RecordError, match="line 2: 3 cells, but the header names 4"):
        read(tmp_path / "runs.csv")


def test_a_table_without_runs_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("data,loss,reward,seed\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"runs\.csv holds no runs"):
        read(tmp_path / "runs.csv")


def test_levels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    text = "data,loss,reward,seed\nno\xe9,b,1,0\nno\xe8,b,1,1\n"
    (tmp_path / "runs.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match="line 2: 'data' is not text in UTF-8"):
        read(tmp_path / "runs.csv")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text("data", encoding="utf-8")
    with pytest.raises(RecordError, match="is no table"):
        read(tmp_path / "runs.txt")


@pytest.mark.parametrize("factors", [["data", "data"], ["data", "reward"], ["data", "seed"]])
def test_a_column_has_one_part(factors: list[str], tmp_path: Path) -> None:
    with pytest.raises(StatisticError, match="columns of their own"):
        read_runs(lines(tmp_path / "a.csv", ROWS), factors, "reward")
