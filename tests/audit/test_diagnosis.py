"""The order of findings, what was not looked for, and a real run."""

from collections.abc import Callable
from typing import Any

import pytest

from prefine.audit.curves import Curve, Curves
from prefine.audit.diagnosis import diagnose, examine
from prefine.audit.rules import EXPLAINS, RULES
from prefine.errors import RunFolderError

Make = Callable[..., Curves]


def test_a_healthy_run_is_healthy(run: Make):
    found = examine(run())
    assert found.healthy
    assert found.finished
    assert set(found.checked) | set(found.unchecked) == {rule.__name__ for rule in RULES}
    assert found.to_json()["findings"] == []


def test_a_missing_metric_is_named_and_not_guessed(run: Make):
    found = examine(run(without=("entropy", "length_correlation", "grad_norm")))
    assert found.unchecked == {
        "length_bias": "length_correlation",
        "over_optimisation": "entropy, or eval_rewards/accuracies twice",
    }


def test_a_short_run_is_not_judged(run: Make):
    found = examine(run(steps=9))
    assert found.checked == ("reference_mistaken",)
    assert set(found.unchecked.values()) == {"10 logged steps (there are 9)"}
    assert len(examine(run(steps=10)).checked) > 5


def test_causes_come_before_what_follows_from_them(run: Make):
    """A critical consequence stands behind a serious cause, and says whose it is."""
    found = examine(
        run(
            shapes={
                "loss": lambda t: 2.0 if 0.3 < t < 0.6 else 0.69 - 0.1 * min(1.0, 2 * t),
                "log_ratio/chosen": lambda t: -20 * min(1.0, 2 * t),
                "log_ratio/rejected": lambda t: -21 * min(1.0, 2 * t),
            }
        )
    )
    names = [(f.name, f.severity, f.because) for f in found.findings]
    assert names == [
        ("learning_rate_too_large", "serious", ""),
        ("displacement", "critical", "learning_rate_too_large"),
    ]


def test_a_policy_that_is_gone_is_told_before_what_it_learnt_by_heart(run: Make, number: Any):
    shapes = {
        "kl_reference": lambda t: 0.0 if t == 0 else 15.0,
        "log_ratio/chosen": lambda t: -8 * min(1.0, 2 * t),
        "log_ratio/rejected": lambda t: -8 * min(1.0, 2 * t) - 0.7 * t,
        "rewards/accuracies": lambda t: 0.95,
    }
    found = examine(run(shapes=shapes, summary={"metrics": {"reward_accuracy": number(0.7)}}))
    names = [(f.name, f.severity) for f in found.findings]
    assert names[:2] == [("over_optimisation", "critical"), ("overfitting", "serious")]
    assert found.findings[2].because in ("over_optimisation", "overfitting")


def test_margins_that_labels_do_not_bear_out_are_no_length_bias_of_theirs(run: Make):
    shapes = {"rewards/accuracies": lambda t: 0.52, "length_correlation": lambda t: 0.8}
    found = examine(run(shapes=shapes))
    names = [(f.name, f.because) for f in found.findings]
    assert names == [("label_noise", ""), ("length_bias", "label_noise")]


def test_the_worst_comes_first_among_causes(run: Make):
    shapes = {"length_correlation": lambda t: 0.9, "kl_reference": lambda t: 5.0}
    found = examine(run(shapes=shapes))
    assert found.findings[0].name == "reference_mistaken"
    assert found.findings[0].severity == "critical"


def test_explanations_name_rules():
    names = {rule.__name__ for rule in RULES}
    assert set(EXPLAINS) <= names
    assert {name for explained in EXPLAINS.values() for name in explained} <= names
    assert not any(name in explained for name, explained in EXPLAINS.items()), (
        "none explains itself"
    )


def test_every_evidence_has_numbers_and_steps(run: Make):
    curves = run(shapes={"loss": lambda t: 0.69 if t == 0 else 3.0})
    finding = examine(curves).findings[0]
    assert "loss at step 1" in str(finding.evidence[0])
    assert " over steps 33 to 40: 3.0" in str(finding.evidence[2])
    made = finding.to_json()
    assert made["evidence"][2]["steps"] == [33, 40]
    low, value, high = (made["evidence"][2]["stat"][key] for key in ("low", "value", "high"))
    assert low < value < high


def test_an_unfinished_run_says_so(run: Make):
    curves = run()
    assert not examine(Curves(curves.rows, curves.config, curves.header)).finished


def test_beta_follows_from_the_curves(run: Make):
    assert run().beta() == pytest.approx(0.5, rel=0.01)
    gone = ("log_ratio/chosen", "log_ratio/rejected")
    assert run(without=gone, config={"options": {"beta": 0.3}}).beta() == 0.3


def test_a_long_curve_has_its_slope_in_little_time():
    import numpy as np

    steps = np.arange(20_000.0)
    assert Curve("loss", steps, 3 - 2 * steps).slope() == pytest.approx(-2.0)


def test_what_is_no_run_is_refused(tmp_path: Any):
    with pytest.raises(RunFolderError, match=r"no run\.yaml"):
        diagnose(tmp_path)
    (tmp_path / "run.yaml").write_text("seed: 0\n")
    with pytest.raises(RunFolderError, match=r"no metrics\.jsonl"):
        diagnose(tmp_path)
