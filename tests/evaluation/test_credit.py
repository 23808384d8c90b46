"""Credits add up to the implicit reward, and stand where policy and reference part."""

from typing import Any

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.evaluation.credit import MEANINGS, credit_report, stretches, token_credit


def row(cluster: str, tie: bool = False, prob: float | None = None) -> dict[str, Any]:
    message = '[{"role": "assistant", "content": "a"}]'
    return {
        "tie": tie, "prob": prob, "cluster": cluster, "weight": 1.0, "tags": "{}",
        "responses": [message, message],
        "items": [{"response": 0, "role": "chosen"}, {"response": 1, "role": "rejected"}],
    }  # fmt: skip


def test_credit_is_beta_times_the_log_ratio_of_each_token() -> None:
    found = token_credit([[-1.0, -2.0, -0.5]], [[-1.5, -1.0, -0.5]], beta=0.2)
    np.testing.assert_allclose(found, [[0.1, -0.2, 0.0]])  # 0.2 (0.5), 0.2 (-1), 0
    assert found.sum() == pytest.approx(0.2 * (-3.5 - -3.0))


def test_tokens_of_two_tokenizers_are_refused() -> None:
    with pytest.raises(StatisticError, match="one tokenizer"):
        token_credit([-1.0, -2.0], [-1.0], beta=0.1)
    with pytest.raises(StatisticError, match="`beta` must be above 0"):
        token_credit([-1.0], [-1.0], beta=0.0)


def test_stretches_cover_a_response_once() -> None:
    credit = np.arange(7.0)
    cut = stretches(credit, 3)
    assert [(one.start, one.stop) for one in cut] == [(0, 3), (3, 6), (6, 7)]
    assert [one.credit for one in cut] == [1.0, 4.0, 6.0]  # (0+1+2)/3, (3+4+5)/3, 6
    assert sum(one.credit * (one.stop - one.start) for one in cut) == credit.sum()
    for wrong in (credit[None], credit):
        with pytest.raises(StatisticError, match="1 token long or more"):
            stretches(wrong, 3 if wrong.ndim == 2 else 0)


def test_a_report_takes_the_better_response_from_the_judgement() -> None:
    credits = [[[1.0, 3.0], [-4.0, 0.0, 1.0]], [[9.0], [9.0]], [[-2.0], [2.0, 2.0]]]
    rows = [row("a"), row("b", tie=True), row("c", prob=0.1)]
    found = credit_report(rows, credits, size=1)
    assert found.keys() == MEANINGS.keys()
    # the third pair is judged the other way round: chosen [2, 2], rejected [-2]; the tie is out
    assert found["credit_chosen"].value == pytest.approx((2 + 2) / 2)
    assert found["credit_rejected"].value == pytest.approx((-1 - 2) / 2)
    assert found["reward_chosen"].value == pytest.approx((4 + 4) / 2)
    assert found["reward_rejected"].value == pytest.approx((-3 - 2) / 2)
    assert found["lowest_rejected"].value == pytest.approx((-4 - 2) / 2)
    assert found["credit_chosen"].n == 2


def test_every_pair_has_credits() -> None:
    with pytest.raises(StatisticError, match="There are 1 pairs, but credits of 0"):
        credit_report([row("a")], [], size=1)
