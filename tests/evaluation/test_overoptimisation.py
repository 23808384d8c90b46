import math

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.evaluation import fit_overoptimisation, stop_at, top_k_entropy, top_k_mass

D = np.array([0.25, 0.5, 1.0, 2.0, 4.0])


def test_a_law_is_found_again_and_beats_a_line():
    found = fit_overoptimisation([0.0, *D], [0.0, *(D * (1.5 - 0.5 * np.log(D)))])
    assert (found.alpha, found.beta) == pytest.approx((1.5, 0.5))
    # R' = 0 at log d = alpha / beta - 1 = 2, where R = beta d
    assert found.peak == pytest.approx(math.e**2)
    assert found.peak_gain == pytest.approx(0.5 * math.e**2)
    assert found.explained == pytest.approx(1.0)
    assert found.explained_by_line < 0.999


def test_ever_steeper_gains_have_no_peak():
    found = fit_overoptimisation(D, D**2)
    assert (found.peak, found.peak_gain) == (None, None)


def test_a_line_explains_a_line():
    found = fit_overoptimisation(D, 1 + 2 * D)
    assert found.explained_by_line == pytest.approx(1.0)
    assert found.explained < 1


@pytest.mark.parametrize(
    ("distance", "gain"), [([0.0, 1.0, 2.0], [0, 1, 2]), (D, [1.0] * 5), (D, [1.0, 2.0])]
)
def test_too_little_to_fit(distance, gain):
    with pytest.raises(StatisticError):
        fit_overoptimisation(distance, gain)


def test_top_k_by_hand():
    log_prob = np.log([[0.5, 0.3, 0.15, 0.05], [0.25, 0.25, 0.25, 0.25]])
    expected = [-0.5 * math.log(0.5) - 0.3 * math.log(0.3), 0.5 * math.log(4)]
    assert top_k_entropy(log_prob, 2).tolist() == pytest.approx(expected)
    assert top_k_mass(log_prob, 2).tolist() == pytest.approx([0.8, 0.5])


def test_a_certain_choice_has_no_entropy():
    assert top_k_entropy([0.0, -np.inf], 2) == 0
    with pytest.raises(StatisticError, match="`k` must be in"):
        top_k_mass([0.0, -np.inf], 3)


def test_stop_at_the_last_evaluation_before_the_fall():
    entropy, mass, grows = [1.0, 1.5, 2.0, 1.5, 1.0, 0.5], [0.4, 0.5, 0.6, 0.7, 0.6, 0.5], range(6)
    assert stop_at([entropy], grows, window=3) == 2  # 2.0, 1.5, 1.0
    assert stop_at([mass], grows, window=3) == 3
    assert stop_at([entropy, mass], grows, window=3) == 3
    assert stop_at([grows], grows, window=3) is None
    assert stop_at([entropy], [0.0] * 6, window=3) is None, "the margin stands: nothing goes on"
    assert stop_at([entropy], grows, window=7) is None
    with pytest.raises(StatisticError):
        stop_at([], grows)
