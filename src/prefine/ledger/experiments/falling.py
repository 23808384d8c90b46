"""What keeps the chosen response from becoming less likely, and that it is what does.

World: 40 prompts with 32 responses each, which share 12 features; 600 pairs, or lists of four,
drawn from the reference and judged by people. What wins a pair is had by others in greater measure,
so `dpo` moves the probability on to them and the winners themselves become less likely.
Truth: all probabilities are exact, so how many nats the winners gained or lost is no estimate.

That winners fall is no harm here: the responses that gain are better still, and `dpo` ends with the
highest reward of all. The claims are about the fall, and only the fall is bounded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.ledger.worlds.tabular import Rows
from prefine.objectives import (
    cpo,
    dpo,
    dpop,
    info_nca,
    listwise_nca,
    nca,
    rpo,
    sft,
    slic_hf,
)
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
ROWS, STEPS, RATE, LIST = 600, 200, 0.03, 4
LIKELIHOOD = 3.0


@dataclass(frozen=True, kw_only=True)
class Fall:
    """A loss that is to hold the winners, and the same without what holds them.

    Attributes:
        method: The loss.
        control: The same without what is claimed to hold the winners.
        baseline: What a user would do.
        imitates: Whether plain imitation of the winners is the control of how far they lead.
        size: Responses of a row.
    """

    method: Loss
    control: Loss
    baseline: Loss
    imitates: bool = False
    size: int = 2

    def __call__(self, seed: int) -> Metrics:
        """Fit each loss; return what winners gained, how far they lead, and the reward."""
        generator = torch.Generator().manual_seed(1_000 + seed)
        world = Crowd.drawn(seed)
        rows = world.table.some_lists(ROWS, self.size, generator)
        arms = {"": self.method, "/control": self.control, "/baseline": self.baseline}
        how: dict[str, Any] = {"steps": STEPS, "rate": RATE, "seed": seed}
        found = {arm: world.fit(loss, rows, **how) for arm, loss in arms.items()}
        if self.imitates:
            found["/imitation"] = world.fit(imitation, rows, **how)
        leads = {arm: lead(world, policy, rows) for arm, policy in found.items()}
        if self.imitates:
            leads["/control"] = leads.pop("/imitation")
        return {
            **{f"chosen{arm}": chosen(world, policy, rows) for arm, policy in found.items()},
            **{f"lead{arm}": value for arm, value in leads.items()},
            **{f"gold{arm}": world.table.gold(policy) for arm, policy in found.items()},
        }


def chosen(world: Crowd, policy: Tensor, rows: Rows) -> float:
    """Return how many nats the best response of a row gained on the reference, on average."""
    return float(world.moved(policy, rows)[:, 0].mean())


def lead(world: Crowd, policy: Tensor, rows: Rows) -> float:
    """Return how many nats the best gained on the others of its row, on average."""
    moved = world.moved(policy, rows)
    return float((moved[:, 0] - moved[:, 1:].mean(1)).mean())


def imitation(scores: Scores) -> Tensor:
    """Imitate the winners: the likelihood term alone."""
    return sft(scores.take(torch.zeros(len(scores.policy), 1, dtype=torch.long)))


HELD = Bound("chosen", "nats that the chosen response gained", at_least=0.0)
APART = "nats by which the chosen response leads the others"


def entry(name: str, fall: Fall, **given: Any) -> Entry:
    """Return the entry of a loss that holds the winners."""

    def run(seed: int) -> Metrics:
        return fall(seed)

    what = "pairs" if fall.size == 2 else "lists of four"
    return Entry(
        name=name,
        world=f"40 prompts with 32 responses that share 12 features; 600 {what} as people judge.",
        worlds=("crowd", "tabular"),
        run=run,
        **given,
    )


leads_imitation = Bound("lead", APART, at_least=0.65)
leads_at_all = Bound("lead", APART, at_least=0.05, control=False)

ENTRIES = (
    entry(
        "dpop",
        Fall(
            method=partial(dpop, beta=0.3, penalty=5.0),
            control=partial(dpop, beta=0.3, penalty=0.0),
            baseline=partial(dpo, beta=0.1),
        ),
        source="Pal et al. 2024, arXiv:2402.13228, equation 3.",
        claim="Charged for every nat that the chosen response loses, it does not lose any.",
        baseline="`dpo` with its usual beta of 0.1.",
        control="The same loss without the charge, which is `dpo` with the same beta of 0.3.",
        bounds=(HELD, leads_at_all),
    ),
    entry(
        "rpo",
        Fall(
            method=partial(rpo, beta=0.1, likelihood_weight=LIKELIHOOD),
            control=partial(rpo, beta=0.1, likelihood_weight=0.0),
            baseline=partial(dpo, beta=0.1),
            imitates=True,
        ),
        source="Pang et al. 2024, arXiv:2404.19733, equation 1.",
        claim="With a likelihood term the chosen response gains, and more than by imitation alone.",
        baseline="`dpo` with the same beta.",
        control="For the gain: no likelihood term. For the lead: the likelihood term alone.",
        bounds=(HELD, leads_imitation),
    ),
    entry(
        "cpo",
        Fall(
            method=partial(cpo, beta=0.1, likelihood_weight=LIKELIHOOD),
            control=partial(cpo, beta=0.1, likelihood_weight=0.0),
            baseline=partial(dpo, beta=0.1),
            imitates=True,
        ),
        source="Xu et al. 2024, arXiv:2401.08417, equation 6 and its ablation.",
        claim="Without a reference, both the contrast and the likelihood of the chosen are needed.",
        baseline="`dpo` with the same beta.",
        control="For the gain: the contrast alone. For the lead: the likelihood alone.",
        bounds=(HELD, leads_imitation),
    ),
    entry(
        "slic_hf",
        Fall(
            method=partial(slic_hf, delta=1.0, likelihood_weight=1.0),
            control=partial(slic_hf, delta=1.0, likelihood_weight=0.0),
            baseline=partial(dpo, beta=0.1),
            imitates=True,
        ),
        source="Zhao et al. 2023, arXiv:2305.10425, equation 3.",
        claim="A hinge orders the responses, and the likelihood term keeps the policy near.",
        baseline="`dpo` with its usual beta of 0.1.",
        control="For the gain: the hinge alone. For the lead: the likelihood alone.",
        bounds=(HELD, leads_imitation),
    ),
    entry(
        "nca",
        Fall(
            method=partial(nca, beta=1.0),
            control=partial(dpo, beta=1.0),
            baseline=partial(dpo, beta=0.1),
        ),
        source="Chen et al. 2024, arXiv:2402.05369, section 4.2.",
        claim="Judging each response against 0 keeps the chosen one from falling below it.",
        baseline="`dpo` with its usual beta of 0.1.",
        control="Judging the two against each other at the same beta of 1, which is `dpo`.",
        bounds=(HELD, leads_at_all),
    ),
    entry(
        "listwise_nca",
        Fall(
            method=partial(listwise_nca, beta=1.0, temperature=0.5),
            control=partial(info_nca, beta=1.0, temperature=0.5),
            baseline=partial(info_nca, beta=0.1, temperature=0.5),
            size=LIST,
        ),
        source="Chen et al. 2024, arXiv:2402.05369, equation 11.",
        claim="In a list too, judging each response against 0 keeps the best one from falling.",
        baseline="`info_nca` with a beta of 0.1.",
        control="Judging the responses of a list against each other, which is `info_nca`.",
        bounds=(HELD, leads_at_all),
    ),
)
