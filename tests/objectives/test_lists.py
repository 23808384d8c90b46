"""Losses on lists again in plain Python, and identities between them."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.objectives.plain import cost, losses, random_pairs

from prefine.objectives.registry import build
from prefine.scores import Scores


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    exp = [math.exp(v - top) for v in values]
    return [e / sum(exp) for e in exp]


def chain(mean: list[float], s: list[float], first: float) -> float:
    """PRO: each level against all below it, temperatures from the gaps; plus likelihood."""
    total, count = 0.0, len(mean)
    for k in range(count - 1):
        gaps = {j: s[k] - s[j] for j in range(k + 1, count)}
        own = math.exp(max(gaps.values()) * mean[k])
        total -= math.log(own / (own + sum(math.exp(gap * mean[j]) for j, gap in gaps.items())))
    return total - 0.2 * (count - 1) ** 2 * first


def swaps(h: list[float], s: list[float]) -> float:
    """LiPO: what exchanging two places would do to the DCG of the policy's own order."""
    order = sorted(range(len(h)), key=lambda i: -h[i])
    discount = {i: 1 / math.log(1 + place) for place, i in enumerate(order, start=1)}
    return sum(
        abs(2 ** s[i] - 2 ** s[j]) * abs(discount[i] - discount[j]) * cost(0.3 * (h[i] - h[j]))
        for i in range(len(h))
        for j in range(len(h))
        if s[i] > s[j]
    )


LISTS: dict[str, Callable[[list[float], list[float]], float]] = {
    "info_nca": lambda h, s: (
        -sum(
            q * math.log(p)
            for q, p in zip(
                softmax([x / 0.7 for x in s]), softmax([0.3 * x for x in h]), strict=True
            )
        )
    ),
    "listwise_nca": lambda h, s: sum(
        q * cost(0.3 * x) + cost(-0.3 * x) / len(h)
        for q, x in zip(softmax([x / 0.7 for x in s]), h, strict=True)
    ),
    "lipo": swaps,
    "ranklist": lambda h, s: sum(
        cost(0.3 * (h[i] - h[j])) for i in range(len(h)) for j in range(i + 1, len(h))
    ),
    "ranklist skips": lambda h, s: sum(
        cost(0.3 * (h[i] - h[j])) for i in range(len(h)) for j in range(i + 1, min(i + 3, len(h)))
    ),
    "ranklist gaps": lambda h, s: sum(
        cost(0.3 * (h[i] - h[j]))
        for i in range(len(h))
        for j in range(i + 1, len(h))
        if s[i] - s[j] > 0.5
    ),
    "ranklist one log": lambda h, s: math.log(
        1 + sum(math.exp(0.3 * (h[j] - h[i])) for i in range(len(h)) for j in range(i + 1, len(h)))
    ),
    "pro": lambda h, s: chain([x / 4 for x in h], s, h[0]),
    "exo_reward": lambda h, s: sum(
        p * math.log(p / q)
        for q, p in zip(softmax([x / 0.7 for x in s]), softmax([0.3 * x for x in h]), strict=True)
    ),
}


OPTIONS: dict[str, dict[str, object]] = {
    "lipo": {"beta": 0.3},
    "ranklist": {"beta": 0.3},
    "ranklist skips": {"beta": 0.3, "max_skip": 2},
    "ranklist gaps": {"beta": 0.3, "min_gap": 0.5},
    "ranklist one log": {"beta": 0.3, "one_log": True},
    "pro": {"likelihood_weight": 0.2},
}
"""The others take a temperature, too."""


@pytest.mark.parametrize("name", LISTS)
def test_list_losses_of_any_length(name: str) -> None:
    """Absent responses take no part, whatever stands in their place."""
    rng = random.Random(0)
    for count in (1, 2, 3, 5):
        h = [rng.gauss(0, 2) for _ in range(count)]
        s = sorted((rng.gauss(0, 1) for _ in range(count)), reverse=True)
        absent = [9.0] * (5 - count)
        scores = Scores(
            torch.tensor([h + absent], dtype=torch.float64),
            torch.full((1, 5), 4.0, dtype=torch.float64),
            reference=torch.zeros(1, 5, dtype=torch.float64),
            utility=torch.tensor([s + absent], dtype=torch.float64),
            valid=torch.tensor([[True] * count + [False] * (5 - count)]),
        )
        options = OPTIONS.get(name, {"beta": 0.3, "temperature": 0.7})
        found = build(name.split()[0], options)(scores)
        assert found.item() == pytest.approx(LISTS[name](h, s), abs=1e-9)


# --- Identities ---


def ranking(rows: int = 20, width: int = 4, seed: int = 0) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    ratio = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    reference = -5 - torch.rand(rows, width, generator=generator).double()
    utility = torch.rand(rows, width, generator=generator).double().sort(1, descending=True).values
    length = torch.randint(1, 9, (rows, width), generator=generator).double()
    return Scores(ratio + reference, length, reference=reference, utility=utility)


def test_two_responses_are_dpo_in_every_ranking_loss() -> None:
    pairs = random_pairs()
    one = losses("dpo", pairs, beta=0.3)
    for options in ({}, {"max_skip": 1}, {"one_log": True}):
        torch.testing.assert_close(losses("ranklist", pairs, beta=0.3, **options), one)
    ranked = replace(pairs, utility=torch.tensor([[1.0, 0.0]] * len(one)).double())
    swap = 1 / math.log(2) - 1 / math.log(3)
    torch.testing.assert_close(losses("lipo", ranked, beta=0.3), swap * one)


def test_pro_without_temperatures_is_plackett_luce_on_means() -> None:
    lists = ranking()
    mean = replace(lists, policy=lists.policy / lists.length)
    torch.testing.assert_close(
        losses("pro", lists, graded=False, likelihood_weight=0.0),
        losses("plackett_luce", mean, beta=1.0, reference=False),
    )


def test_one_logarithm_is_a_lower_bound() -> None:
    lists = ranking()
    assert (losses("ranklist", lists, one_log=True) < losses("ranklist", lists)).all()


@pytest.mark.parametrize("name", ["lipo", "ranklist"])
def test_the_order_of_tied_responses_is_of_no_account(name: str) -> None:
    lists = ranking()
    lists = replace(lists, utility=torch.tensor([[3.0, 2.0, 2.0, 1.0]] * 20).double())
    swapped = lists.take(torch.tensor([[0, 2, 1, 3]] * 20))
    torch.testing.assert_close(losses(name, swapped), losses(name, lists))


def test_far_worse_responses_count_less_in_pro() -> None:
    """Temperatures multiply negative log-probabilities."""
    policy = torch.full((1, 3), -8.0, requires_grad=True)
    utility = torch.tensor([[1.0, 0.9, 0.0]])
    scores = Scores(policy, torch.full((1, 3), 4.0), utility=utility)
    (near, far) = torch.autograd.grad(losses("pro", scores, likelihood_weight=0.0).sum(), policy)[
        0
    ][0, 1:].abs() / torch.tensor([0.1, 1.0])  # per unit of temperature
    assert near > far


def test_a_mistake_at_the_top_costs_most_in_lipo() -> None:
    """Two neighbours change places, equally far apart in label and score."""
    utility = torch.tensor([[0.9, 0.6, 0.3, 0.0]] * 2)
    policy = torch.tensor([[3.0, 4.0, 2.0, 1.0], [4.0, 3.0, 1.0, 2.0]])
    scores = Scores(policy, torch.ones(2, 4), reference=torch.zeros(2, 4), utility=utility)
    top, bottom = losses("lipo", scores, beta=1.0, gain="linear").tolist()
    assert top > 1.3 * bottom
    top, bottom = losses("ranklist", scores, beta=1.0).tolist()
    assert top == pytest.approx(bottom)
