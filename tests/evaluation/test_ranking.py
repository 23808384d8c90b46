import numpy as np
import pytest
from tests.evaluation.test_reward import row

from prefine.errors import StatisticError
from prefine.evaluation import ranking_accuracy, ranking_report
from prefine.evaluation.ranking import MEANINGS

# Four pairs: (policy chosen, rejected), (reference chosen, rejected)
POLICY = [[-1.0, -2.0], [-5.0, -4.0], [-3.0, -3.5], [-9.0, -8.0]]
REFERENCE = [[-2.0, -2.5], [-8.0, -4.0], [-4.0, -3.0], [-7.0, -8.0]]


def test_every_number_by_hand():
    result = ranking_accuracy(POLICY, REFERENCE)
    assert result["accuracy"].value == 0.5  # pairs 0 and 2
    assert result["reference_accuracy"].value == 0.5  # pairs 0 and 3
    # gains: (1, 0.5), (3, 0), (1, -0.5), (-2, 0): three of four rise for the chosen one
    assert result["reward_accuracy"].value == 0.75
    assert result["flipped_right"].value == 0.5  # of pairs 1 and 2, pair 2
    assert result["flipped_wrong"].value == 0.5  # of pairs 0 and 3, pair 3
    assert result["difference_to_reference"].value == 0.0


def test_length_normalised():
    # sums say the second is likelier, means say the first
    result = ranking_accuracy([[-6.0, -4.0]], lengths=[[6.0, 2.0]])
    assert (result["accuracy"].value, result["accuracy_normalised"].value) == (0.0, 1.0)
    with pytest.raises(StatisticError, match="`lengths` must be above 0"):
        ranking_accuracy([[-6.0, -4.0]], lengths=[[0.0, 2.0]])


def test_gold_turns_and_leaves_out():
    result = ranking_accuracy(POLICY, REFERENCE, gold=[1, -1, 0, 1])
    assert result["accuracy"].value == pytest.approx(2 / 3)
    assert result["accuracy"].n == 3


def test_reward_accuracy_is_not_ranking_accuracy():
    """A step towards the chosen answers that is too small to change which one is likelier."""
    rng = np.random.default_rng(0)
    reference = rng.normal(scale=8, size=(200, 2))
    policy = reference + np.array([0.1, -0.1])
    result = ranking_accuracy(policy, reference)
    assert result["reward_accuracy"].value == 1.0
    assert result["accuracy"].value < 0.6
    assert result["flipped_right"].value < 0.1


def test_report_on_rows():
    rows = [row("a", "bb", str(k), weight=1.0 + k, tag=k % 2) for k in range(4)]
    rows.append(row("a", "bb", "tie", tie=True, tag=0))
    report = ranking_report(
        rows,
        [*POLICY, [-1.0, -1.5]],
        [*REFERENCE, [-1.0, -1.0]],
        [[3, 4]] * 5,
    )
    assert report["accuracy"].value == 0.5
    assert report["baseline_longer"].value == 0.0
    assert report["difference_to_longer"].value == 0.5
    assert report["margin"].value == pytest.approx((1 - 1 + 0.5 - 1) / 4)
    assert {name for name in report if "/" not in name} <= set(MEANINGS)
    assert report["accuracy/tag=0"].n == 2


def test_rows_without_a_number_are_left_out_and_counted():
    rows = [row("a", "bb", str(k)) for k in range(4)]
    reference = np.array(REFERENCE)
    reference[1, 1] = np.nan
    report = ranking_report(rows, POLICY, reference)
    assert report["scored"].value == 0.75
    assert report["accuracy"].n == 3
    assert report["reference_accuracy"].n == 3


def test_what_a_penalty_allows_is_said_where_beta_is_known():
    rows = [row("a", "bb", "0"), row("a", "bb", "1", prob=0.2)]
    report = ranking_report(rows, POLICY[:2], REFERENCE[:2], beta=0.5)
    # leads 0.5 + 2 log 3, and -4 - 2 log 4 against a label that 80% contradict: both are right
    assert report["idealised_accuracy"].value == 1.0
    assert "idealised_accuracy" not in ranking_report(rows, POLICY[:2], REFERENCE[:2])
    assert "idealised_accuracy" not in ranking_report(rows, POLICY[:2], beta=0.5)
