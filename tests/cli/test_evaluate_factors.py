"""`prefine evaluate factors`: a study of four combinations, worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

HEAD = "data,loss,seed,reward\n"
ASK = ("--factor", "data", "--factor", "loss", "--outcome", "reward")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Effects of data: 2.75 with seed 0 and 3.25 with seed 1; of the loss 0.75 with both."""
    cells = ("noisy,dpo", "noisy,ipo", "clean,dpo", "clean,ipo")
    values = {0: (1, 2, 4, 4.5), 1: (6, 7, 9.5, 10)}
    rows = [
        f"{at},{seed},{value}"
        for seed, row in values.items()
        for at, value in zip(cells, row, strict=True)
    ]
    (tmp_path / "runs.csv").write_text(HEAD + "\n".join(rows), encoding="utf-8")
    return tmp_path / "runs.csv"


def test_numbers_worked_out_by_hand(study: Path, prefine: Call) -> None:
    # Seed 0: [[1, 2], [4, 4.5]], mean 2.875. Data 1.5, 4.25: +-1.375, squares 4 * 1.375^2 = 7.5625.
    # Loss 2.5, 3.25: +-0.375, squares 0.5625. Left: 1 - 2.875 + 1.375 + 0.375 = -0.125, squares
    # 0.0625. Total 8.1875. Seed 1: [[6, 7], [9.5, 10]], mean 8.125. Data 6.5, 9.75: +-1.625,
    # squares 10.5625. Loss 7.75, 8.5: 0.5625. Left 0.0625. Total 11.1875.
    code, out, err = prefine("evaluate", "factors", study, *ASK, "--json")
    assert code == 0, err
    report = json.loads(out)
    data = report["effects"]["data"]["clean"]
    assert data["value"] == pytest.approx(3.0)
    # Half a width: t(0.975, 1) = 12.7062 times sd / sqrt 2 = 0.353553 / 1.414214 = 0.25
    assert data["high"] - data["value"] == pytest.approx(12.7062 * 0.25, rel=1e-5)
    assert report["effects"]["loss"]["ipo"]["value"] == pytest.approx(0.75)
    assert report["spread"]["data"]["value"] == pytest.approx(3.0)
    shares = {name: stat["value"] for name, stat in report["shares"].items()}
    assert shares == pytest.approx(
        {
            "data": (7.5625 / 8.1875 + 10.5625 / 11.1875) / 2,
            "loss": (0.5625 / 8.1875 + 0.5625 / 11.1875) / 2,
            "data x loss": (0.0625 / 8.1875 + 0.0625 / 11.1875) / 2,
        }
    )
    assert report["against"] == {"data": "noisy", "loss": "dpo"}
    assert (report["runs"], report["seeds"], report["table"]) == (8, 2, "runs.csv")


def test_factors_are_told_in_the_order_given(study: Path, prefine: Call) -> None:
    code, out, err = prefine("evaluate", "factors", study, *ASK)
    assert code == 0, err
    assert out.index("data: clean against noisy") < out.index("loss: ipo against dpo")
    turned = ("--factor", "loss", "--factor", "data", "--outcome", "reward")
    out = prefine("evaluate", "factors", study, *turned)[1]
    assert out.index("loss: ipo against dpo") < out.index("data: clean against noisy")
    assert "8 runs, 2 seeds" in out


def test_the_level_that_others_are_held_against_can_be_named(study: Path, prefine: Call) -> None:
    words = ("evaluate", "factors", study, *ASK, "--against", "data=clean", "--json")
    effects = json.loads(prefine(*words)[1])["effects"]["data"]
    assert effects["noisy"]["value"] == pytest.approx(-3.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*ASK, "--seed-column", "run"), "there is no column 'run'"),
        ((*ASK, "--against", "data"), "--against takes FACTOR=LEVEL"),
        ((*ASK, "--against", "data=a", "--against", "data=b"), "once for each factor"),
        ((*ASK, "--against", "data=pure"), "no run has it"),
        (("--factor", "data", "--outcome", "reward"), "repeats runs.csv, line 2"),
        (("--factor", "data", "--factor", "data", "--outcome", "reward"), "columns of their own"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], message: str, study: Path, prefine: Call
) -> None:
    code, _, err = prefine("evaluate", "factors", study, *words)
    assert code in (1, 2)
    assert message in err


def test_an_empty_table_is_refused(study: Path, prefine: Call) -> None:
    study.write_text(HEAD, encoding="utf-8")
    code, _, err = prefine("evaluate", "factors", study, *ASK)
    assert code == 1
    assert "runs.csv holds no runs" in err


def test_a_gap_is_refused(study: Path, prefine: Call) -> None:
    whole = study.read_text(encoding="utf-8").splitlines()
    study.write_text("\n".join(whole[:-1]), encoding="utf-8")
    code, _, err = prefine("evaluate", "factors", study, *ASK)
    assert code == 1
    assert "seed 1: data clean, loss ipo is absent from the design" in err
