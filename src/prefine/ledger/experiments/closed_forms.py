"""Losses whose optimum can be written down: each lands on it, and less of the loss does not.

World: one prompt, eight responses (six where rankings are counted out), rewards and reference drawn
at random; rows are all there can be, each with its exact weight, so that the minimum found is what
the loss asks for.
Truth: stated with each entry.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, total_variation
from prefine.objectives import (
    cpo,
    dpo,
    dpo_ties,
    exo_reward,
    f_dpo,
    gamma_dpo,
    info_nca,
    ipo,
    length_regularised_dpo,
    plackett_luce,
    ranklist,
    robust_dpo,
    simpo,
)
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
BETA = 0.5
FLIPS = 0.3
ODDS = 3.0
LENGTH_BIAS = 0.05
GAMMA = 0.5
SIMPO_BETA, MEAN_LENGTH = 10.0, 22.5


@dataclass(frozen=True, kw_only=True)
class Landing:
    """A loss, the rows that it sees, and where it should end.

    Attributes:
        method: The loss.
        control: The same without what is claimed to matter.
        rows: What both see.
        truth: [X, N] log-probabilities.
        control_rows: What the control sees, where that is the difference.
        baseline: What a user would do, or None for the reference as it came.
        responses: Of the world.
    """

    method: Loss
    control: Loss
    rows: Callable[[Tabular], Rows]
    truth: Callable[[Tabular], Tensor]
    control_rows: Callable[[Tabular], Rows] | None = None
    baseline: Loss | None = None
    responses: int = 8

    def __call__(self, seed: int) -> Metrics:
        """Fit each loss and return its distance to the truth."""
        world = with_lengths(Tabular.drawn(seed, responses=self.responses), seed)
        truth, rows = self.truth(world), self.rows(world)
        others = rows if self.control_rows is None else self.control_rows(world)
        found = {
            "distance": world.fit(self.method, rows),
            "distance/control": world.fit(self.control, others),
            "distance/baseline": world.reference,
        }
        if self.baseline is not None:
            found["distance/baseline"] = world.fit(self.baseline, rows)
        return {name: total_variation(policy, truth) for name, policy in found.items()}


def with_lengths(world: Tabular, seed: int) -> Tabular:
    """Give responses lengths of 5 to 40."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    length = torch.randint(5, 41, world.reward.shape, generator=generator)
    return replace(world, length=length.double())


def pairs(world: Tabular) -> Rows:
    """All pairs as people judge them."""
    return world.every_pair()


def certain_pairs(world: Tabular) -> Rows:
    """All pairs, the one with the higher reward always preferred."""
    return world.every_pair((world.better() > 0.5).double())


def flipped_pairs(world: Tabular) -> Rows:
    """All pairs, of which a known share is labelled the wrong way round."""
    better = world.better()
    return world.every_pair((1 - FLIPS) * better + FLIPS * (1 - better))


def longer_pairs(world: Tabular) -> Rows:
    """All pairs as judged by people who also like length."""
    assert world.length is not None
    return replace(world, reward=world.reward + LENGTH_BIAS * world.length).every_pair()


def tied_pairs(world: Tabular) -> Rows:
    """All pairs with three outcomes, by Rao and Kupper: won, lost, or called equal."""
    both, strength = world.every_pair(), world.reward.exp()
    at = (both.prompt[:, None], both.response)
    one, other = strength[at].unbind(1)
    wins = one / (one + ODDS * other)
    loses = other / (other + ODDS * one)
    ties = (1 - wins - loses) / 2  # each pair stands here twice, once in each order
    tie = torch.cat([torch.zeros(len(both), dtype=torch.bool), torch.ones_like(ties).bool()])
    weight = torch.cat([wins, ties])
    return Rows(
        both.prompt.repeat(2), both.response.repeat(2, 1), weight / weight.sum(), {"tie": tie}
    )


def decided_pairs(world: Tabular) -> Rows:
    """The same without those called equal."""
    rows = tied_pairs(world)
    kept = ~rows.fields["tie"]
    weight = rows.weight[kept]
    return Rows(rows.prompt[kept], rows.response[kept], weight / weight.sum(), {})


def rankings(world: Tabular) -> Rows:
    """Every ranking of every three responses, as often as Plackett and Luce expect it."""
    order = torch.tensor(list(permutations(range(world.reward.shape[1]), 3)))
    reward = world.reward[0][order]
    weight = torch.stack([reward[:, k:].log_softmax(1)[:, 0] for k in range(2)], 1).sum(1).exp()
    places = torch.tensor([[2.0, 1.0, 0.0]], dtype=reward.dtype).expand(len(order), 3)
    prompt = torch.zeros(len(order), dtype=torch.long)
    return Rows(prompt, order, weight / weight.sum(), {"utility": places})


def graded(world: Tabular) -> Rows:
    """One list of everything, with the rewards."""
    return world.whole_lists()


def placed(world: Tabular) -> Rows:
    """The same list, told by places alone."""
    rows = world.whole_lists()
    places = torch.arange(rows.response.shape[1], 0, -1, dtype=world.reward.dtype)
    return replace(rows, fields={"utility": places.expand_as(rows.response)})


def kl_optimum(world: Tabular) -> Tensor:
    """The optimum under a KL penalty."""
    return world.optimum(BETA)


def forward_kl_optimum(world: Tabular) -> Tensor:
    """The optimum under a penalty by KL(ref || pi): beta ref / (c - r), c so that it adds up."""
    low = world.reward.max(-1, keepdim=True).values
    high = low + 100.0
    for _ in range(200):
        c = (low + high) / 2
        too_much = (BETA * world.reference.exp() / (c - world.reward)).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, c, low), torch.where(too_much, high, c)
    return (BETA * world.reference.exp() / (high - world.reward)).log()


def ipo_optimum(world: Tabular) -> Tensor:
    """Where IPO's squares are least: tilted by how often a response wins, not by its reward."""
    wins = (world.better() > 0.5).double()
    wins += torch.eye(wins.shape[-1], dtype=wins.dtype) / 2
    return world.optimum(BETA, wins.mean(-1))


def ratio_optimum(world: Tabular) -> Tensor:
    """The optimum when only a share of the reference's lead counts."""
    return (GAMMA * world.reference + world.reward / BETA).log_softmax(-1)


def normalised_optimum(world: Tabular) -> Tensor:
    """Where log-probabilities per token differ as rewards do: l = n (r / beta + c)."""
    assert world.length is not None
    rate = world.reward / SIMPO_BETA
    low, high = -100 - rate.max(-1, keepdim=True).values, -rate.max(-1, keepdim=True).values
    for _ in range(200):
        c = (low + high) / 2
        too_much = (world.length * (rate + c)).logsumexp(-1, keepdim=True) > 0
        low, high = torch.where(too_much, low, c), torch.where(too_much, c, high)
    return world.length * (rate + low)


def entry(
    name: str, landing: Landing, *, claim: str, source: str, control: str, **more: Any
) -> Entry:
    """Return the entry of a loss that has to land."""

    def run(seed: int) -> Metrics:
        return landing(seed)

    given: dict[str, Any] = {
        "baseline": "The reference policy as it came."
        if landing.baseline is None
        else "`dpo` of the same strength on the same rows.",
        "world": "One prompt, eight responses; all pairs, weighted by Bradley-Terry.",
        **more,
    }
    bound = Bound("distance", "total variation to the exact optimum", at_most=0.01)
    return Entry(
        name=name, source=source, claim=claim, control=control, bounds=(bound,), run=run, **given
    )


plain = partial(dpo, beta=BETA)

ENTRIES = (
    entry(
        "ipo",
        Landing(
            method=partial(ipo, tau=BETA, average=False),
            control=plain,
            baseline=None,
            rows=certain_pairs,
            truth=ipo_optimum,
        ),
        source="Azar et al. 2023, arXiv:2310.12036, equation 17.",
        claim="Where a preference is certain, IPO still ends at a policy held by the penalty.",
        world="One prompt, eight responses; the better one always wins.",
        control="The logistic link in place of the square, which is `dpo`: it runs off.",
    ),
    entry(
        "robust_dpo",
        Landing(
            method=partial(robust_dpo, beta=BETA, label_noise=FLIPS),
            control=plain,
            rows=flipped_pairs,
            truth=kl_optimum,
        ),
        source="Chowdhury et al. 2024, arXiv:2403.00409.",
        claim="With a known share of wrong labels, the optimum is that of clean labels.",
        world="One prompt, eight responses; 30% of labels are the wrong way round.",
        control="`dpo` on the same labels: no correction.",
    ),
    entry(
        "f_dpo",
        Landing(
            method=partial(f_dpo, beta=BETA, divergence="forward_kl"),
            control=plain,
            rows=pairs,
            truth=forward_kl_optimum,
        ),
        source="Wang et al. 2023, arXiv:2309.16240, theorem 1.",
        claim="With f'(e^h) for h, the optimum is that under a penalty by f: forward KL here.",
        control="The log-ratio itself, which is `dpo` and belongs to the reverse KL.",
    ),
    entry(
        "dpo_ties",
        Landing(
            method=partial(dpo_ties, beta=BETA, model="rao_kupper", odds=ODDS),
            control=plain,
            rows=tied_pairs,
            control_rows=decided_pairs,
            truth=kl_optimum,
        ),
        source="Chen et al. 2024, arXiv:2409.17431.",
        claim="Told which pairs were called equal, it lands on the optimum of the true reward.",
        world="One prompt, eight responses; people win, lose or tie by Rao and Kupper.",
        control="`dpo` on the pairs that were decided: ties thrown away.",
    ),
    entry(
        "info_nca",
        Landing(
            method=partial(info_nca, beta=BETA, temperature=1.0),
            control=partial(info_nca, beta=BETA, temperature=1.0),
            rows=graded,
            control_rows=placed,
            truth=kl_optimum,
        ),
        source="Chen et al. 2024, arXiv:2402.05369, section 3.",
        claim="From a list with its rewards, the loss lands on the optimum of those rewards.",
        world="One prompt and one list of its eight responses, with rewards.",
        control="The same loss told the places alone.",
    ),
    entry(
        "exo_reward",
        Landing(
            method=partial(exo_reward, beta=BETA, temperature=1.0),
            control=partial(exo_reward, beta=BETA, temperature=1.0),
            rows=graded,
            control_rows=placed,
            truth=kl_optimum,
        ),
        source="Ji et al. 2024, arXiv:2402.00856.",
        claim="Reverse KL to the shares of rewards lands on the optimum of those rewards.",
        world="One prompt and one list of its eight responses, with rewards.",
        control="The same loss told the places alone.",
    ),
    entry(
        "plackett_luce",
        Landing(
            method=partial(plackett_luce, beta=BETA),
            control=partial(ranklist, beta=BETA, max_skip=1),
            rows=rankings,
            truth=kl_optimum,
            responses=6,
        ),
        source="Plackett 1975, Luce 1959; under a reference: Rafailov et al. 2023, appendix A.3.",
        claim="From rankings, the chain of choices lands on the optimum of the true reward.",
        world="One prompt, six responses; every ranking of three, weighted by Plackett-Luce.",
        control="Neighbours of a ranking, as if each two were a choice of their own.",
    ),
    entry(
        "length_regularised_dpo",
        Landing(
            method=partial(length_regularised_dpo, beta=BETA, alpha=LENGTH_BIAS),
            control=plain,
            rows=longer_pairs,
            truth=kl_optimum,
        ),
        source="Park et al. 2024, arXiv:2403.19159; sign by our derivation.",
        claim="Told how people like length, it lands on the optimum of what else they like.",
        world="One prompt, eight responses of 5 to 40 tokens; 0.05 of reward for each token.",
        control="`dpo` on the same pairs: no term for length.",
    ),
    entry(
        "gamma_dpo",
        Landing(
            method=partial(gamma_dpo, beta=BETA, gamma=GAMMA),
            control=plain,
            rows=pairs,
            truth=ratio_optimum,
        ),
        source="Chen et al. 2024, arXiv:2405.19534, section 5.",
        claim="With a share gamma of the reference, its lead counts by that share alone.",
        control="The whole reference, which is `dpo`.",
    ),
    entry(
        "simpo",
        Landing(
            method=partial(simpo, beta=SIMPO_BETA, gamma_over_beta=0.0),
            control=partial(cpo, beta=SIMPO_BETA / MEAN_LENGTH, likelihood_weight=0.0),
            rows=pairs,
            truth=normalised_optimum,
        ),
        source="Meng et al. 2024, arXiv:2405.14734, equation 4.",
        claim="Log-probabilities per token come to differ as the rewards do, with no reference.",
        world="One prompt, eight responses of 5 to 40 tokens; all pairs.",
        control="Log-probabilities of whole responses in their place.",
    ),
)
