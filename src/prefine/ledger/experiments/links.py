"""Other links on DPO's margin: what they do that the logistic one does not.

World: responses with 20 features and a taste that is a direction among them, with or without wrong
labels; for the hinge, a table of eight responses of which the better always wins.
Truth: the taste, by which held-out pairs are judged without noise.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.linear import Judged, Linear
from prefine.ledger.worlds.tabular import Tabular
from prefine.objectives import alpha_dpo, discopop, dpo, exo_preference, hinge, simpo
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
MakeLoss = Callable[..., Loss]
GRID = {"beta": (0.05, 0.2, 1.0)}
HELD_OUT, RATE = 4_000, 0.03
PAIRS, STEPS = 600, 300
MANY, LONG, FLIPS, STRENGTH = 3_000, 400, 0.3, 4.5
MARGIN_BETA, FIRST, TWICE, TABLE_RATE = 0.5, 500, 1_000, 0.1
DEFAULT, DEMANDED = 0.05, 0.2


def best(world: Linear, make: MakeLoss, pairs: Judged, held_out: Tensor, **how: Any) -> float:
    """Return the share of held-out pairs ordered right with the best strength of the grid."""
    return max(
        world.accuracy(world.fit(make(beta=beta), pairs, rate=RATE, **how), held_out)
        for beta in GRID["beta"]
    )


def gains(
    seed: int, arms: Mapping[str, MakeLoss], *, pairs: int, steps: int, flips: float
) -> dict[str, float]:
    """Return accuracies of all arms, and gains on the baseline."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Linear.drawn(seed, strength=STRENGTH)
    seen = world.judged(world.responses(pairs, generator), generator, (flips,))
    held_out = world.responses(HELD_OUT, generator)
    right = {
        arm: best(world, make, seen, held_out, steps=steps, seed=seed) for arm, make in arms.items()
    }
    above = {f"gain{arm}": share - right["/baseline"] for arm, share in right.items()}
    above.pop("gain/baseline")
    return {**above, **{f"accuracy{arm}": share for arm, share in right.items()}}


def run_exo(seed: int) -> Metrics:
    """Learn from labels of which three in ten are wrong."""
    smoothing = 1e-3
    arms: dict[str, MakeLoss] = {
        "": partial(partial, exo_preference, smoothing=smoothing),
        "/control": partial(partial, dpo, label_noise=smoothing),
        "/baseline": partial(partial, dpo),
        "/smoothed by the true rate": partial(partial, dpo, label_noise=FLIPS),
    }
    return gains(seed, arms, pairs=MANY, steps=LONG, flips=FLIPS)


def run_discopop(seed: int) -> Metrics:
    """Learn from labels as people give them, and once with the default strength."""
    arms: dict[str, MakeLoss] = {
        "": partial(partial, discopop),
        "/control": partial(partial, discopop, temperature=1.0),
        "/baseline": partial(partial, dpo),
        "/default": lambda beta: partial(discopop, beta=DEFAULT),
    }
    return gains(seed, arms, pairs=PAIRS, steps=STEPS, flips=0.0)


def run_alpha(seed: int) -> Metrics:
    """Learn from labels of which three in ten are wrong."""
    arms: dict[str, MakeLoss] = {
        "": partial(alpha_dpo, gamma_over_beta=0.0, alpha=DEMANDED),
        "/control": partial(alpha_dpo, gamma_over_beta=0.0, alpha=0.0),
        "/baseline": partial(partial, simpo, gamma_over_beta=0.0),
    }
    return gains(seed, arms, pairs=PAIRS, steps=STEPS, flips=FLIPS)


def run_hinge(seed: int) -> Metrics:
    """Train for some steps and for twice as many, on preferences that are certain."""
    world = Tabular.drawn(seed)
    rows = world.every_pair((world.better() > 0.5).double())
    rows = rows.take(rows.weight > 0)

    def scores(logits: Tensor, at: Tensor) -> Scores:
        return world.scores(logits.log_softmax(-1), rows.take(at))

    arms = {"": partial(hinge, beta=MARGIN_BETA), "/control": partial(dpo, beta=MARGIN_BETA)}
    found: dict[str, float] = {}
    for arm, loss in arms.items():
        path: dict[int, Tensor] = {}

        def follow(step: int, logits: Tensor, path: dict[int, Tensor] = path) -> None:
            if step in (FIRST, TWICE):
                path[step] = (logits.log_softmax(-1) - world.reference)[0, rows.response]

        descend(
            loss, scores, world.reference, len(rows), steps=TWICE, rate=TABLE_RATE,
            decay=False, momentum=0.0, seed=seed, on_step=follow,
        )  # fmt: skip
        found[f"moved{arm}"] = float((path[TWICE] - path[FIRST]).abs().max())
        found[f"margin{arm}"] = MARGIN_BETA * float(-path[TWICE].diff(dim=1).max())
    return found


LINEAR = {"worlds": ("linear",), "grid": GRID}

ENTRIES = (
    Entry(
        name="hinge",
        source="Liu et al. 2024, arXiv:2309.06657, equation 12.",
        claim="Once a pair is apart by its margin it is left alone, so learning comes to rest.",
        world="One prompt, eight responses; the better one always wins.",
        worlds=("crowd", "tabular"),
        baseline="`dpo` of the same strength, which is the control.",
        control="The logistic link in place of the hinge, which is `dpo`: it runs on.",
        bounds=(
            Bound("moved", "most nats that a response moved in as many steps again", at_most=1e-6),
            Bound("margin", "smallest margin of a pair", at_least=0.99, control=False),
        ),
        run=run_hinge,
    ),
    Entry(
        name="exo_preference",
        source="Ji et al. 2024, arXiv:2402.00856, section 3.3.",
        claim="The divergence turned around seeks the mode: it sides with the most of the labels.",
        world="3,000 pairs with 20 features, of which 30% are labelled the wrong way round.",
        baseline="`dpo`, which believes every label.",
        control="The divergence the usual way round, to the same smoothed label.",
        bounds=(Bound("gain", "share of clean pairs ordered right, above dpo", at_least=0.005),),
        run=run_exo,
        tried=(
            "On a line with two peaks of reward and a policy that is one bell, it covers both "
            "peaks as `dpo` does: with two responses a row, the mode that it seeks is that of the "
            "label and not that of the optimum."
        ),
        **LINEAR,
    ),
    Entry(
        name="discopop",
        source="Lu et al. 2024, arXiv:2406.08414, section 4.",
        claim="A loss that turns from logistic to exponential learns more than the logistic one.",
        world="600 pairs with 20 features, as people judge.",
        baseline="`dpo`, from whose accuracy gains are told.",
        control="The same loss with a passage so wide (1) that its hump is gone.",
        bounds=(Bound("gain", "share of pairs ordered right, above dpo", at_least=0.002),),
        run=run_discopop,
        tried=(
            "Strengths of 0.05 to 1, with clean labels and with 30% wrong ones. At strengths of "
            "0.05 and 0.2 it learns to order pairs the wrong way round: the loss rises with the "
            "margin at 0, where every run begins, and only noise carries a row over the hump."
        ),
        **LINEAR,
    ),
    Entry(
        name="alpha_dpo",
        source="Wu et al. 2024, arXiv:2410.10148, equation 10.",
        claim="Margins that grow where a pair is apart already keep noisy pairs from misleading.",
        world="600 pairs with 20 features, of which 30% are labelled the wrong way round.",
        baseline="`simpo` without a margin, from whose accuracy gains are told.",
        control="The same loss with margins that do not grow.",
        bounds=(Bound("gain", "share of clean pairs ordered right, above simpo", at_least=0.005),),
        run=run_alpha,
        tried="Growth of 0.05 to 1 for each standard deviation, with clean labels and wrong ones.",
        **LINEAR,
    ),
)
