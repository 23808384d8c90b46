"""`prefine bench`: its cases, its misuse, what it keeps, and when it fails."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prefine.bench.cases import CASES, ON_CPU, ON_CUDA, QUICK, Case
from prefine.bench.run import DoesNotFit
from prefine.cli.main import app


def bench(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", "--trl-python", sys.executable, *words])


def test_each_device_has_its_own_cases() -> None:
    assert set(QUICK) < set(ON_CPU)
    assert len(CASES) == len(ON_CPU) + len(ON_CUDA)
    for device, cases in (("cpu", ON_CPU), ("cuda", ON_CUDA)):
        assert {case.device for case, _ in cases.values()} == {device}
        lines = bench("--list", "--device", device).stdout.splitlines()
        assert [line.split(": preset=")[0] for line in lines] == list(cases)
    assert "lora=True; goal: speed >= 1.5" in bench("--list").stdout


def test_no_two_cases_are_the_same() -> None:
    assert len({case for case, _ in CASES.values()}) == len(CASES)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--case", "pears"], "There is no case 'pears'"),
        (["--case", "8B: pairs"], "There is no case '8B: pairs' of --device cpu"),
        (["--trl-python", "nowhere/python"], "run `make bench`"),
        (["--quick", "--case", "adapters"], "--quick chooses the cases itself"),
        (["--quick", "--device", "cuda"], "--quick has cases of the CPU alone"),
        (["--baseline", "nowhere.json"], "no such file of earlier figures"),
    ],
)
def test_misuse_says_what_to_do(words: list[str], says: str) -> None:
    assert says in str(bench(*words).exception)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "needs a GPU that torch can use" in str(bench("--device", "cuda").exception)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, made: Any) -> list[Case]:
    """Cases that were run; each shows the same made-up figures."""
    found: list[Case] = []
    monkeypatch.setattr(
        "prefine.bench.run.run_case",
        lambda case, **_: found.append(case) or made(case=case.to_json()),
    )
    return found


def test_figures_already_taken_are_kept(tmp_path: Path, ran: list[Case]) -> None:
    words = ["--out", str(tmp_path / "bench.json"), "--threads", "1", "--pairs", "2"]
    for name in ("pairs, light", "adapters"):
        done = bench(*words, "--case", name)
        assert done.exit_code == 0, done.exception
    assert len(ran) == 2
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert [case["name"] for case in kept["cases"]] == ["pairs, light", "adapters"]
    assert kept["command"] == "prefine bench --device cpu --pairs 2 --threads 1"
    bench(*words, "--case", "adapters")
    assert len(ran) == 2
    done = bench(*words, "--case", "adapters", "--threads", "2")
    assert "another number of threads or pairs, or with --quick" in str(done.exception)
    assert "<svg" in (tmp_path / "bench.svg").read_text()


def test_the_red_line_is_red(tmp_path: Path, ran: list[Case]) -> None:
    """Made-up steps are twice as fast as the other side's, whatever the case."""
    (tmp_path / "out").mkdir()
    assert bench("--quick", "--out", str(tmp_path / "out/bench.json")).exit_code == 0
    earlier = json.loads((tmp_path / "out/bench.json").read_text())
    same = tmp_path / "same.json"
    same.write_text(json.dumps(earlier))
    held = bench("--quick", "--baseline", str(same))
    assert held.exit_code == 0, held.exception
    earlier["cases"][1]["speed"]["value"] = 2 / 0.8
    same.write_text(json.dumps(earlier))
    red = bench("--quick", "--baseline", str(same))
    assert red.exit_code == 1
    assert "slower: pairs, heavy, 2.00 [2.00, 2.00], was 2.50" in red.stdout
    assert red.stdout.splitlines()[-1] == "worst: pairs, light, 2.00"
    assert len(ran) == 12


@pytest.mark.parametrize("there", [True, False])
def test_bfloat16_is_timed_only_where_there_are_units(
    there: bool, ran: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefine.bench.gemm.has_bfloat16", lambda: there)
    told = bench("--case", "bfloat16").stdout
    assert ("skipped: this processor has no bfloat16 units" in told) is not there
    assert len(ran) == there


def test_a_case_that_does_not_fit_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_big(*_: Any, **__: Any) -> None:
        raise DoesNotFit("does not fit in this device's memory: trl")

    monkeypatch.setattr("prefine.bench.run.run_case", too_big)
    assert (
        "skipped: does not fit in this device's memory: trl" in bench("--case", "adapters").stdout
    )
