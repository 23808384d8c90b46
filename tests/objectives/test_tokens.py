"""Losses that read tokens, again in plain Python."""

import math

import pytest
import torch
from tests.objectives.plain import cost, losses, rows_of

from prefine.scores import Scores


def tokens(rows: int = 20, longest: int = 6, seed: int = 0) -> Scores:
    """Pairs whose sums follow from their tokens."""
    generator = torch.Generator().manual_seed(seed)

    def random() -> torch.Tensor:
        return torch.randn(rows, 2, longest, generator=generator, dtype=torch.float64)

    length = torch.randint(1, longest + 1, (rows, 2), generator=generator)
    gap = torch.randint(0, 2, (rows, 2, 1), generator=generator)  # a prompt of 0 or 1 tokens
    place = torch.arange(longest + 1)
    mask = (place >= gap) & (place < length[..., None] + gap)
    wide = {
        name: torch.nn.functional.pad(values, (0, 1)) * mask
        for name, values in {
            "log_prob": -random().abs() - 0.1,
            "reference_log_prob": -random().abs() - 0.1,
            "log_collision": -random().abs(),
            "kl_reference": random().abs(),
        }.items()
    }
    return Scores(
        wide["log_prob"].sum(2),
        length.double(),
        reference=wide["reference_log_prob"].sum(2),
        elements={**wide, "mask": mask},
    )


def scored(scores: Scores, name: str) -> list[list[list[float]]]:
    """Values of the scored tokens alone, [row][response][token]."""
    mask = scores.elements["mask"]
    return [
        [scores.elements[name][row, k][mask[row, k]].tolist() for k in (0, 1)]
        for row in range(len(mask))
    ]


def test_token_level_dpo_counts_the_drift() -> None:
    scores = tokens()
    drift = [[sum(response) for response in row] for row in scored(scores, "kl_reference")]
    pairs = rows_of(scores)
    one = [cost(0.3 * (p.m - (dl - dw))) for p, (dw, dl) in zip(pairs, drift, strict=True)]
    two = [cost(0.3 * (p.m - 0.7 * (dl - dw))) for p, (dw, dl) in zip(pairs, drift, strict=True)]
    assert losses("tdpo1", scores, beta=0.3).tolist() == pytest.approx(one)
    assert losses("tdpo2", scores, beta=0.3, alpha=0.7).tolist() == pytest.approx(two)


def test_the_drift_of_the_chosen_has_no_gradient_in_tdpo2() -> None:
    scores = tokens()
    drift = scores.elements["kl_reference"].clone().requires_grad_()
    moved = Scores(
        scores.policy, scores.length, reference=scores.reference,
        elements={**scores.elements, "kl_reference": drift},
    )  # fmt: skip
    losses("tdpo2", moved).sum().backward()
    assert drift.grad is not None
    assert not drift.grad[:, 0].any()
    assert drift.grad[:, 1].any()


def test_the_tail_counts_less_in_ld_dpo() -> None:
    scores = tokens()
    expected = []
    for ours, theirs in zip(
        scored(scores, "log_prob"), scored(scores, "reference_log_prob"), strict=True
    ):
        shared = min(len(ours[0]), len(ours[1]))
        weight = [1.0] * shared + [0.3] * 9
        sums = [
            sum(w * (a - b) for w, a, b in zip(weight, policy, reference, strict=False))
            for policy, reference in zip(ours, theirs, strict=True)
        ]
        expected.append(cost(0.4 * (sums[0] - sums[1])))
    assert losses("ld_dpo", scores, beta=0.4, tail_weight=0.3).tolist() == pytest.approx(expected)
    torch.testing.assert_close(losses("ld_dpo", scores, tail_weight=1.0), losses("dpo", scores))


@pytest.mark.parametrize("clamp", [True, False])
def test_likely_pairs_weigh_more_in_wpo(clamp: bool) -> None:
    scores = tokens()
    expected = []
    for pair, ours, collisions in zip(
        rows_of(scores), scored(scores, "log_prob"), scored(scores, "log_collision"), strict=True
    ):
        log_weight = sum(
            sum(p - c for p, c in zip(response, collision, strict=True)) / len(response)
            for response, collision in zip(ours, collisions, strict=True)
        )
        weight = math.exp(min(log_weight, 0.0) if clamp else log_weight)
        expected.append(weight * cost(0.3 * pair.m))
    assert losses("wpo", scores, beta=0.3, clamp=clamp).tolist() == pytest.approx(expected)
