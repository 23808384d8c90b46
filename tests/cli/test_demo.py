"""`prefine demo` as a newcomer runs it: one seed at full size, and what it promises.

Four minutes; a smaller seed that must point the same way is in `tests/ledger/test_demo.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prefine.models import RewardModel, load_policy
from prefine.statistics import Stat

STAT = {"value", "low", "high", "n", "method"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_seed(tmp_path: Path):
    out = tmp_path / "demo"
    command = [str(Path(sys.executable).parent / "prefine"), "demo", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("holds  ") == 4
    found = json.loads((out / "demo.json").read_text())

    gold = found["gold_reward"]
    assert gold["difference"]["low"] > 0
    assert abs(gold["shuffled_difference"]["value"]) < 0.1 * gold["difference"]["value"]
    validity = found["validity"]
    assert abs(validity["dpo"]["value"] - validity["sft"]["value"]) <= 0.03
    assert found["gold_per_word"]["difference"]["low"] > 0
    assert found["kl"]["low"] > 0
    reward = found["reward_model"]
    assert reward["accuracy"]["low"] > reward["baseline_longer"]["high"]
    assert found["seeds"] == [0]
    assert found["seconds"] > 0

    numbers = [
        *gold.values(), *validity.values(), *found["length"].values(), *reward.values(),
        found["gold_per_word"]["difference"], found["kl"],
    ]  # fmt: skip
    for number in numbers:
        assert set(number) >= STAT
        assert "bootstrap" in number["method"] or "Wilson" in number["method"]
        assert number["low"] <= number["value"] <= number["high"]
        assert Stat.from_json(number).n == number["n"]

    page = (out / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    for name in ("sft", "dpo"):
        load_policy(str(out / "models" / name))
    RewardModel.load(out / "models" / "reward")

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "--resume" in again.stderr
