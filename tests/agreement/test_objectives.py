"""Our losses on the same tensors as TRL 1.16 and Liger 0.8: equal, or different on purpose.

`test_same_*` compares values and gradients. Every `test_differs_*` shows both numbers, and has an
entry in docs/explanation/differences.md.
"""

import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from prefine.objectives import (
    alphapo,
    aot,
    apo_down,
    apo_zero,
    apo_zero_unpaired,
    bradley_terry,
    cpo,
    discopop,
    dpo,
    exo_preference,
    f_dpo,
    hinge,
    ipo,
    kto,
    ld_dpo,
    length_normalised_dpo,
    nca,
    orpo,
    robust_dpo,
    sft,
    simpo,
    sppo,
    wpo,
)  # fmt: skip
from prefine.objectives.combine import on_chosen
from prefine.objectives.declare import spec
from prefine.objectives.transforms import length_normalised
from prefine.objectives.unpaired import MISMATCHED
from prefine.scores import Scores

ROWS, TOKENS = 6, 9


@dataclass
class Pairs:
    """The same pairs as token tables (for TRL) and as scores (for us); `leaf` learns."""

    leaf: Tensor
    tokens: Tensor
    mask: Tensor
    reference: Tensor

    @property
    def scores(self) -> Scores:
        length = self.mask[..., 1:].sum(-1).T.double()
        return Scores(self.tokens.sum(-1).T, length, reference=self.reference.T)


def make_pairs(prompt: int = 2) -> Pairs:
    """Responses of unlike lengths after a prompt of `prompt` tokens; float64."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(prompt + 2, TOKENS + 1, (2, ROWS), generator=generator)
    at = torch.arange(TOKENS + 1)
    mask = ((at >= prompt) & (at < ends[..., None])).long()
    leaf = -torch.rand(2, ROWS, TOKENS, generator=generator, dtype=torch.float64) * 4
    tokens = leaf.requires_grad_() * mask[..., 1:]
    reference = -8 + 3 * torch.randn(2, ROWS, generator=generator, dtype=torch.float64)
    return Pairs(leaf, tokens, mask, reference)


@pytest.fixture
def pairs() -> Pairs:
    return make_pairs()


def assert_same(ours: Tensor, theirs: Tensor, by: Tensor, within: float = 1e-12) -> None:
    """Equal values, and equal gradients by the same leaf."""
    torch.testing.assert_close(ours, theirs, rtol=within, atol=within)
    gradients = [torch.autograd.grad(loss, by, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=within, atol=within)


SINGLE = 1e-6
"""Where TRL goes through single precision, whatever the precision of its input."""


# --- the same ---


@pytest.mark.parametrize(
    ("ours", "loss_type", "settings"),
    [
        (partial(dpo, beta=0.3), "sigmoid", {"beta": 0.3}),
        (partial(ipo, tau=0.3), "ipo", {"beta": 0.3}),
        (partial(aot, beta=0.3), "aot", {"beta": 0.3}),
        (partial(aot, beta=0.3, label_noise=0.2), "aot", {"beta": 0.3, "label_smoothing": 0.2}),
        (partial(aot, paired=False), "aot_unpaired", {}),
        (partial(length_normalised(dpo), beta=2.0), "sigmoid_norm", {"beta": 2.0}),
        (partial(length_normalised_dpo, beta=2.0), "sigmoid_norm", {"beta": 2.0}),
        (partial(hinge, beta=0.3), "hinge", {"beta": 0.3}),
        (partial(robust_dpo, label_noise=0.2), "robust", {"label_smoothing": 0.2}),
        (partial(nca, beta=0.3), "nca_pair", {"beta": 0.3}),
        (partial(apo_zero, beta=0.3), "apo_zero", {"beta": 0.3}),
        (partial(apo_down, beta=0.3), "apo_down", {"beta": 0.3}),
        (
            partial(discopop, beta=0.3, temperature=0.2),
            "discopop",
            {"beta": 0.3, "args": SimpleNamespace(discopop_tau=0.2)},
        ),
        (
            partial(f_dpo, divergence="forward_kl"),
            "sigmoid",
            {"f_divergence_type": "forward_kl"},
        ),
        (partial(f_dpo, divergence="js"), "sigmoid", {"f_divergence_type": "js_divergence"}),
    ],
)
def test_same_as_trl_dpo(trl_dpo: Any, pairs: Pairs, ours: Any, loss_type: str, settings: Any):
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, loss_type, **settings)
    assert_same(ours(pairs.scores).mean(), theirs, pairs.leaf)


def test_same_as_trl_sppo_but_for_its_factor(trl_dpo: Any, pairs: Pairs):
    """TRL leaves out the half of the paper's squares."""
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, "sppo_hard", beta=0.3)
    assert_same(2 * sppo(pairs.scores, beta=0.3).mean(), theirs, pairs.leaf)


def test_same_as_trl_exo_in_single_precision(trl_dpo: Any, pairs: Pairs):
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, "exo_pair", label_smoothing=0.1)
    assert_same(exo_preference(pairs.scores, smoothing=0.1).mean(), theirs, pairs.leaf, SINGLE)


def test_same_as_trl_alpha_divergence_with_its_mirrored_alpha(trl_dpo: Any, pairs: Pairs):
    """TRL's coefficient is 1 - alpha, and it takes no double precision."""
    settings = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7}
    tokens, reference = pairs.tokens.float(), pairs.reference.float()
    theirs = trl_dpo(tokens, pairs.mask, reference, "sigmoid", **settings)
    ours = f_dpo(pairs.scores, divergence="alpha", alpha=0.3).mean()
    torch.testing.assert_close(ours.float(), theirs)
    mirrored = f_dpo(pairs.scores, divergence="alpha", alpha=0.7).mean()
    assert (mirrored.float() - theirs).abs() > 1e-3


def test_same_as_trl_cpo(trl_cpo: Any, pairs: Pairs):
    values = pairs.scores.policy
    theirs = trl_cpo(values, "sigmoid", beta=0.3, label_smoothing=0.0, alpha=0.0).mean()
    assert_same(cpo(pairs.scores, beta=0.3, likelihood_weight=0.0).mean(), theirs, pairs.leaf)
    means = pairs.scores.policy / pairs.scores.length
    settings = {"beta": 2.5, "simpo_gamma": 0.75, "alpha": 0.3, "label_smoothing": 0.0}
    theirs = trl_cpo(means, "simpo", **settings).mean()
    ours = alphapo(pairs.scores, beta=2.5, gamma_over_beta=0.3, alpha=0.3).mean()
    assert_same(ours, theirs, pairs.leaf)


def test_same_as_trl_orpo(trl_orpo: Any, pairs: Pairs):
    means = pairs.scores.policy / pairs.scores.length
    theirs = -means[:, 0] - trl_orpo(means, beta=0.4)
    ours = orpo(pairs.scores, odds_weight=0.4).mean()
    assert_same(ours, theirs.mean(), pairs.leaf, SINGLE)


def test_same_as_trl_robust_is_a_soft_label_above_one(trl_dpo: Any, pairs: Pairs):
    """rDPO = the soft-label form with q = (1 - e) / (1 - 2 e); e = 0.2 gives 4/3."""
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, "robust", label_smoothing=0.2)
    scores, above = pairs.scores, torch.full((ROWS,), 4 / 3, dtype=torch.float64)
    soft = Scores(scores.policy, scores.length, reference=scores.reference, prob=above)
    assert_same(dpo(soft).mean(), theirs, pairs.leaf)


def test_same_as_trl_sft_weighted_by_units(trl_dpo: Any, pairs: Pairs):
    """On one micro-batch, where their mean over its tokens is the mean over all tokens."""
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, "sft")
    units = pairs.scores.length[:, 0]
    losses = on_chosen(sft)(pairs.scores)
    assert_same((units * losses).sum() / units.sum(), theirs, pairs.leaf)


def token_table(pairs: Pairs, seed: int) -> Tensor:
    """[2, B, T] negative numbers at the tokens of responses, 0 elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    values = -torch.rand(2, ROWS, TOKENS, generator=generator, dtype=torch.float64) * 4
    return values * pairs.mask[..., 1:]


def with_elements(pairs: Pairs, reference: Tensor, **elements: Tensor) -> Scores:
    """Scores of `pairs` whose reference [2, B, T] and elements are tokens."""
    by_row = {name: table.transpose(0, 1) for name, table in elements.items()}
    mask = pairs.mask[..., 1:].bool().transpose(0, 1)
    scores = pairs.scores
    return Scores(
        scores.policy, scores.length, reference=reference.sum(-1).T,
        elements={**by_row, "mask": mask},
    )  # fmt: skip


@pytest.mark.parametrize("prompt", [0, 2])
@pytest.mark.parametrize("tail_weight", [0.0, 0.3, 1.0])
def test_same_as_trl_ld_dpo(trl_dpo: Any, prompt: int, tail_weight: float):
    """Policy and reference cut at the shorter length, the rest weighted alike."""
    pairs = make_pairs(prompt)
    reference = token_table(pairs, 3)
    theirs = trl_dpo(pairs.tokens, pairs.mask, reference, "sigmoid", ld_alpha=tail_weight)
    scores = with_elements(pairs, reference, log_prob=pairs.tokens, reference_log_prob=reference)
    assert_same(ld_dpo(scores, tail_weight=tail_weight).mean(), theirs, pairs.leaf)


def test_same_as_trl_wpo_without_its_clamp(trl_dpo: Any, pairs: Pairs):
    """TRL lets the product of both weights exceed 1; so do we if told to."""
    reference, collision = token_table(pairs, 3), token_table(pairs, 4)
    settings = {"use_weighting": True, "collision": collision, "beta": 0.3}
    theirs = trl_dpo(pairs.tokens, pairs.mask, reference, "sigmoid", **settings)
    scores = with_elements(pairs, reference, log_prob=pairs.tokens, log_collision=collision)
    assert_same(wpo(scores, beta=0.3, clamp=False).mean(), theirs, pairs.leaf)


def points(mismatched: Tensor) -> tuple[Scores, Tensor]:
    """Six labelled responses of one unit, and the leaf that learns."""
    generator = torch.Generator().manual_seed(1)
    policy = torch.randn(ROWS, generator=generator, dtype=torch.float64).requires_grad_()
    reference = torch.randn(ROWS, generator=generator, dtype=torch.float64)
    label = torch.arange(ROWS) % 3 != 1
    scores = Scores(
        policy[:, None],
        torch.ones(ROWS, 1, dtype=torch.float64),
        reference=reference[:, None],
        label=label[:, None],
        columns={MISMATCHED: mismatched},
    )
    return scores, policy


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_same_as_trl_kto_on_one_micro_batch(trl_kto: Any, sign: float):
    """With either sign of the baseline: a negative one is 0 in both."""
    mismatched = sign * torch.linspace(0.5, 3.0, ROWS, dtype=torch.float64)
    scores, leaf = points(mismatched)
    ours = kto(beta=0.3, desirable_weight=1.5, undesirable_weight=0.5)
    ours.update(ours.observe(scores))
    theirs = trl_kto(
        leaf, scores.reference[:, 0], scores.label[:, 0], mismatched,
        beta=0.3, desirable_weight=1.5, undesirable_weight=0.5,
    )  # fmt: skip
    assert_same(ours(scores).mean(), theirs, leaf)


def test_same_as_trl_apo_zero_unpaired(trl_kto: Any):
    scores, leaf = points(torch.zeros(ROWS, dtype=torch.float64))
    theirs = trl_kto(
        leaf, scores.reference[:, 0], scores.label[:, 0], torch.zeros(ROWS),
        beta=0.3, loss_type="apo_zero_unpaired",
    )  # fmt: skip
    assert_same(apo_zero_unpaired(scores, beta=0.3).mean(), theirs, leaf)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {}),
        ({"margin": "subtract"}, {"margin": torch.linspace(0, 2, ROWS).double()}),
        ({"centre": 0.01}, {"centre": 0.01}),
    ],
)
def test_same_as_trl_reward(trl_reward: Any, options: Any, settings: Any):
    rewards = make_pairs().tokens.detach().sum(-1).T.requires_grad_()
    ours = Scores(rewards, torch.ones_like(rewards), margin=settings.get("margin"))
    assert_same(bradley_terry(ours, **options).mean(), trl_reward(rewards, **settings), rewards)


def test_same_as_trl_simpo(trl_simpo: Any, pairs: Pairs):
    """Their `simpo_gamma` is the margin after beta: gamma_over_beta 0.3 at beta 2.5 is 0.75."""
    means = pairs.scores.policy / pairs.scores.length
    theirs = trl_simpo(means, beta=2.5, gamma=0.75).mean()
    assert_same(simpo(pairs.scores, beta=2.5, gamma_over_beta=0.3).mean(), theirs, pairs.leaf)


def test_same_as_liger(liger: Any, pairs: Pairs):
    scores, target = pairs.scores, torch.zeros(2 * ROWS, 1)
    chosen, rejected = scores.policy.T
    theirs = liger.dpo(chosen, rejected, target, *scores.reference.T, beta=0.3)[0]
    assert_same(dpo(scores, beta=0.3).mean(), theirs, pairs.leaf)

    means = (scores.policy / scores.length).T
    theirs = liger.simpo(*means, target, beta=2.5, gamma=0.75)[0]
    assert_same(simpo(scores, beta=2.5, gamma_over_beta=0.3).mean(), theirs, pairs.leaf)

    theirs = liger.cpo(chosen, rejected, target, beta=0.3)[0]
    assert_same(cpo(scores, beta=0.3, likelihood_weight=0.0).mean(), theirs, pairs.leaf)
    theirs = liger.orpo(*means, target, beta=0.4)[0]
    odds = orpo(scores, odds_weight=0.4).mean() + means[0].mean()
    assert_same(odds, theirs, pairs.leaf)

    mismatched = torch.linspace(0.5, 3.0, ROWS, dtype=torch.float64)
    labelled, leaf = points(mismatched)
    ours = kto(beta=0.3)
    ours.update(ours.observe(labelled))
    theirs = liger.kto(
        leaf, labelled.label[:, 0], torch.zeros(ROWS, 1), labelled.reference[:, 0],
        beta=0.3, kl=mismatched.mean(),
    )[0]  # fmt: skip
    assert_same(ours(labelled).mean(), theirs, leaf)


# --- different on purpose ---


def test_differs_label_noise_reaches_the_loss(trl_dpo: Any, liger: Any, pairs: Pairs):
    """Both peers accept label smoothing with the plain loss and drop it in silence."""
    tables = (pairs.tokens, pairs.mask, pairs.reference)
    for theirs in (
        lambda e: trl_dpo(*tables, "sigmoid", label_smoothing=e),
        lambda e: liger.dpo(
            *pairs.scores.policy.T, torch.zeros(2 * ROWS, 1), *pairs.scores.reference.T,
            label_smoothing=e,
        )[0],
    ):  # fmt: skip
        assert theirs(0.3).equal(theirs(0.0))
    # ours is cDPO: 0.7 of the loss and 0.3 of the flipped one
    scores = pairs.scores
    flipped = scores.take(torch.tensor([[1, 0]]).expand(ROWS, -1))
    expected = 0.7 * dpo(scores) + 0.3 * dpo(flipped)
    torch.testing.assert_close(dpo(scores, label_noise=0.3), expected)


@pytest.mark.parametrize(
    ("ours", "loss_type"), [(ipo, "ipo"), (length_normalised(dpo), "sigmoid_norm")]
)
def test_differs_length_counts_what_is_scored(trl_dpo: Any, ours: Any, loss_type: str):
    """Without a prompt the first token has no score; TRL counts it all the same."""
    pairs = make_pairs(prompt=0)
    theirs = trl_dpo(pairs.tokens, pairs.mask, pairs.reference, loss_type)
    scores = pairs.scores
    assert abs(ours(scores).mean() - theirs) > 1e-4
    one_too_many = Scores(scores.policy, scores.length + 1, reference=scores.reference)
    torch.testing.assert_close(ours(one_too_many).mean(), theirs)


def test_differs_simpo_margin_goes_with_the_better_response(trl_simpo: Any, liger: Any):
    """A flipped label demands the margin of the other side: sigma(-beta d - gamma), not (+ gamma).

    So a soft label of 0 is the loss of the swapped pair; with the peers' smoothing it is not.
    """
    means = torch.tensor([[-1.0, -2.0]], dtype=torch.float64)
    swapped = simpo(Scores(means.flip(1), torch.ones(1, 2)))
    certain = torch.zeros(1, dtype=torch.float64)
    assert simpo(Scores(means, torch.ones(1, 2), prob=certain)).equal(swapped)
    # beta 2, gamma 1, d = 1: swapped -log sigma(-3); theirs -log sigma(-(2 - 1))
    assert swapped.item() == pytest.approx(math.log1p(math.exp(3)))
    theirs = math.log1p(math.exp(1))
    smoothed = {"beta": 2.0, "gamma": 1.0, "label_smoothing": 1.0}
    assert trl_simpo(means, **smoothed).item() == pytest.approx(theirs)
    assert liger.simpo(*means.T, torch.zeros(2, 1), **smoothed)[0].item() == pytest.approx(theirs)


def test_differs_kto_baseline_is_of_the_whole_step(trl_kto: Any):
    """TRL takes one baseline per micro-batch, so the loss changes with accumulation."""
    mismatched = torch.tensor([4.0, 4.0, 4.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    scores, leaf = points(mismatched)

    def theirs(at: slice) -> Tensor:
        columns = (leaf, scores.reference[:, 0], scores.label[:, 0], mismatched)
        return trl_kto(*(column[at] for column in columns), beta=1.0)

    whole, halves = theirs(slice(0, 6)), (theirs(slice(0, 3)) + theirs(slice(3, 6))) / 2
    assert abs(whole - halves) > 1e-3

    ours, accumulated = kto(beta=1.0), kto(beta=1.0)
    ours.update(ours.observe(scores))
    parts = [scores.rows(torch.arange(*ends)) for ends in ((0, 3), (3, 6))]
    sums = [accumulated.observe(part) for part in parts]
    accumulated.update({key: sums[0][key] + sums[1][key] for key in sums[0]})
    losses = torch.cat([accumulated(part) for part in parts])
    torch.testing.assert_close(losses, ours(scores), rtol=0, atol=1e-12)
    torch.testing.assert_close(losses.mean(), whole)


def test_differs_kto_does_not_drop_a_row_that_is_not_a_number(trl_kto: Any):
    """TRL averages over the rows that are left; we return NaN, for the trainer to stop at."""
    mismatched = torch.ones(ROWS, dtype=torch.float64)
    scores, leaf = points(mismatched)
    policy = leaf.detach().clone()
    policy[0] = math.nan
    theirs = trl_kto(policy, scores.reference[:, 0], scores.label[:, 0], mismatched)
    assert theirs.isfinite()
    broken = Scores(policy[:, None], scores.length, scores.reference, label=scores.label)
    assert kto()(broken).isnan().tolist() == [True] + [False] * (ROWS - 1)


def test_differs_sft_is_a_mean_over_the_tokens_of_the_step(trl_dpo: Any, pairs: Pairs):
    """A mean of micro-batch means weighs a token by the batch it happened to fall into."""

    def theirs(at: slice) -> Tensor:
        return trl_dpo(pairs.tokens[:, at], pairs.mask[:, at], pairs.reference[:, at], "sft")

    whole, halves = theirs(slice(0, 6)), (theirs(slice(0, 2)) + theirs(slice(2, 6))) / 2
    assert abs(whole - halves) > 1e-3
    assert spec(sft).per == "unit"


def test_differs_aot_sorts_the_whole_step(trl_dpo: Any, pairs: Pairs):
    """TRL sorts each micro-batch; sorted in parts, it is another loss."""

    def theirs(at: slice) -> Tensor:
        return trl_dpo(pairs.tokens[:, at], pairs.mask[:, at], pairs.reference[:, at], "aot")

    parts = torch.stack([theirs(slice(i, i + 2)) for i in range(0, ROWS, 2)])
    assert abs(aot(pairs.scores).mean() - parts.mean()) > 1e-4
    assert spec(aot).coupled


def test_differs_a_margin_is_read_only_when_asked(trl_reward: Any):
    """TRL subtracts a column of that name; here the option says so, or the trainer refuses it."""
    rewards, margin = torch.tensor([[2.0, 1.0]]).double(), torch.tensor([3.0]).double()
    scores = Scores(rewards, torch.ones(1, 2), margin=margin)
    plain = math.log1p(math.exp(-1))
    assert trl_reward(rewards, margin=margin).item() == pytest.approx(math.log1p(math.exp(2)))
    assert bradley_terry(scores).item() == pytest.approx(plain)
    assert "margin" not in spec(bradley_terry).needs.fields


def test_differs_half_precision_is_widened_before_subtracting(liger: Any):
    """Log-ratios -933.5 and -935.5 are -932 and -936 in bfloat16: a margin of 2 becomes 4."""
    policy = torch.tensor([[-1000.0, -1000.0]], dtype=torch.bfloat16)
    reference = torch.tensor([[-66.5, -64.5]], dtype=torch.bfloat16)
    ours = dpo(Scores(policy, torch.ones(1, 2), reference=reference))
    assert ours.item() == pytest.approx(math.log1p(math.exp(-0.2)), abs=1e-6)
    theirs = liger.dpo(*policy.T, torch.zeros(2, 1), *reference.T)[0]
    assert theirs.item() == pytest.approx(math.log1p(math.exp(-0.4)), abs=1e-2)


def test_every_difference_is_documented():
    page = Path(__file__).parents[2] / "docs" / "explanation" / "differences.md"
    documented = set(re.findall(r"test_differs_\w+", page.read_text(encoding="utf-8")))
    assert documented == {name for name in globals() if name.startswith("test_differs_")}
