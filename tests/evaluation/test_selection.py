import pytest

from prefine.errors import StatisticError
from prefine.evaluation import split_by_margin

GAP = [4.0, 0.5, -0.5, -4.0, 2.0, 1.0]


def test_every_pair_has_one_place():
    found = split_by_margin(GAP, 1.0)
    assert found.easy.tolist() == [True, False, False, False, True, False]
    assert found.hard.tolist() == [False, True, True, False, False, True]
    assert found.contradicted.tolist() == [False, False, False, True, False, False]


def test_half_of_what_agrees_is_easy():
    found = split_by_margin(GAP)  # leads above 0: 0.5, 1, 2, 4
    assert found.threshold == 1.5
    assert found.easy.sum() == 2


def test_what_cannot_be_split_is_refused():
    with pytest.raises(StatisticError, match="no median"):
        split_by_margin([-1.0, 0.0])
    with pytest.raises(StatisticError, match="at least 0"):
        split_by_margin(GAP, -1.0)
