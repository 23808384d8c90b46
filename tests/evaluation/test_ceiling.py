import math

import numpy as np
import pytest

from prefine.errors import ConfigError, StatisticError
from prefine.evaluation import flip_loss, idealised_accuracy, idealised_gap, ranking_accuracy

# leads of the chosen response: 2, -3, -30
REFERENCE = [[-1.0, -3.0], [-5.0, -2.0], [-31.0, -1.0]]


def test_gap_by_hand():
    # agreement 0.75: log 3 / 0.1 = 10.9861 nats
    lead = math.log(3) / 0.1
    assert idealised_gap(REFERENCE).tolist() == pytest.approx([2 + lead, -3 + lead, -30 + lead])
    # a share of each pair: 0.5 moves nothing, less than a half moves the other way
    own = idealised_gap(REFERENCE, beta=0.5, agreement=[0.5, 0.9, 0.2])
    expected = [2.0, -3 + 2 * math.log(9), -30 - 2 * math.log(4)]
    assert own.tolist() == pytest.approx(expected)


def test_a_certain_label_is_taken_for_nearly_certain():
    gap = idealised_gap([[0.0, 0.0]], beta=1.0, agreement=1.0)
    assert gap[0] == pytest.approx(math.log(999))


def test_accuracy_falls_as_the_penalty_grows():
    found = [idealised_accuracy(REFERENCE, beta=beta).value for beta in (0.01, 0.1, 1.0)]
    assert found == pytest.approx([1.0, 2 / 3, 1 / 3])


def test_threshold_by_hand():
    # c = -2, 3, 30 at beta 0.1: -log sigma(-0.2), -log sigma(0.3), -log sigma(3)
    expected = [math.log1p(math.exp(0.1 * -c)) for c in (-2, 3, 30)]
    assert flip_loss(REFERENCE).tolist() == pytest.approx(expected)


def test_a_pair_is_ranked_right_where_its_loss_is_below_the_threshold():
    rng = np.random.default_rng(0)
    reference, policy = rng.normal(scale=8, size=(2, 500, 2))
    margin = (policy - reference) @ [1, -1]
    loss = np.logaddexp(0.0, -0.3 * margin)
    right = policy[:, 0] > policy[:, 1]
    assert ((loss < flip_loss(reference, beta=0.3)) == right).all()
    assert ranking_accuracy(policy).keys() == {"accuracy"}
    # the threshold of another beta is another
    assert ((loss < flip_loss(reference, beta=0.1)) != right).any()


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="`beta` must be positive"):
        flip_loss(REFERENCE, beta=0.0)
    with pytest.raises(ConfigError, match="`agreement` must be shares"):
        idealised_gap(REFERENCE, agreement=1.5)
    with pytest.raises(StatisticError, match="must hold"):
        flip_loss([1.0, 2.0])
