"""PoFT learns less from rows that aligned models find unlikely, so bad rows harm it less.

World: 600 points of five classes, 40% of them with a label drawn at random; a network learns the
labels, and three linear models, fitted to 200 clean rows each, play the aligned models.
Truth: the class of every point.
"""

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.labelled import Labelled, Labels
from prefine.ledger.worlds.tabular import minimise
from prefine.objectives import poft, sft
from prefine.objectives.declare import Loss
from prefine.scores import Scores

ROWS, WRONG, CLEAN, MODELS, HELD_OUT = 600, 0.4, 200, 3, 4_000
HIDDEN, MIDDLE, STEPS, RATE = 64, 150, 400, 0.02


def run(seed: int) -> Metrics:
    """Train a network with each loss, and return its accuracy midway and at the end."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Labelled.drawn(seed)
    rows, held_out = world.rows(ROWS, generator, wrong=WRONG), world.rows(HELD_OUT, generator)
    others = [aligned(world, generator) for _ in range(MODELS)]
    told = torch.stack([linear(model, rows.features) for model in others])
    told = told.gather(2, rows.label.expand(MODELS, -1)[..., None]).mean(0)
    shuffled = told[torch.randperm(ROWS, generator=generator)]
    even = torch.ones_like(told)
    found = {
        "": trained(poft, rows, told, even, seed),
        "/control": trained(poft, rows, shuffled, even, seed),
        "/baseline": trained(sft, rows, told, even, seed),
        "/weighted": trained(sft, rows, told, told.exp(), seed),
    }
    accuracy = {
        arm: [world.accuracy(network(at, held_out.features), held_out) for at in path]
        for arm, path in found.items()
    }
    middle, last = (
        {arm: both[at] - accuracy["/baseline"][at] for arm, both in accuracy.items()}
        for at in (0, 1)
    )
    best = max(world.accuracy(linear(model, held_out.features), held_out) for model in others)
    return {
        "gain": middle[""],
        "gain/control": middle["/control"],
        "gain/weighted": middle["/weighted"],
        "gain at the end": last[""],
        "gain at the end/weighted": last["/weighted"],
        **{f"accuracy{arm}": both[0] for arm, both in accuracy.items()},
        "accuracy/best aligned": best,
    }


def aligned(world: Labelled, generator: torch.Generator) -> Tensor:
    """Return [D + 1, C] a linear model of clean rows."""
    clean = world.rows(CLEAN, generator)
    at = torch.arange(CLEAN)
    size, classes = world.centres.shape[::-1]

    def loss(weights: Tensor) -> Tensor:
        fit = linear(weights, clean.features)[at, clean.label].mean()
        return 0.01 * weights.square().sum() - fit

    return minimise(loss, torch.zeros(size + 1, classes, dtype=torch.float64))


def linear(weights: Tensor, features: Tensor) -> Tensor:
    """Return [B, C] log-probabilities of a linear model."""
    return (features @ weights[:-1] + weights[-1]).log_softmax(-1)


def trained(loss: Loss, rows: Labels, told: Tensor, weight: Tensor, seed: int) -> list[Tensor]:
    """Return the network midway and at the end.

    Args:
        loss: `poft` or `sft`.
        rows: What is imitated.
        told: [B, 1] mean log-probability of each label under the aligned models.
        weight: [B, 1] of the rows.
        seed: Of the network.
    """
    size, classes = rows.features.shape[1], int(rows.label.max()) + 1
    shapes = ((size, HIDDEN), (1, HIDDEN), (HIDDEN, classes), (1, classes))
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(shape, generator=generator) / shape[0] ** 0.5 for shape in shapes]
    path: list[Tensor] = []
    start = torch.cat([part.flatten() for part in parts]).double()

    def scores(weights: Tensor, at: Tensor) -> Scores:
        own = network(weights, rows.features[at]).gather(1, rows.label[at, None])
        return Scores(own, torch.ones_like(own), utility=told[at], weight=weight[at, 0])

    def keep(step: int, weights: Tensor) -> None:
        if step in (MIDDLE, STEPS):
            path.append(weights.clone())

    descend(
        loss, scores, start, len(rows),
        steps=STEPS, batch=len(rows), rate=RATE, decay=False, on_step=keep,
    )  # fmt: skip
    return path


def network(weights: Tensor, features: Tensor) -> Tensor:
    """Return [B, C] log-probabilities of a network of one hidden layer, from its flat weights."""
    size = features.shape[1]
    classes = (len(weights) - (size + 1) * HIDDEN) // (HIDDEN + 1)
    first, bias, second, last = weights.split([size * HIDDEN, HIDDEN, HIDDEN * classes, classes])
    hidden = (features @ first.view(size, HIDDEN) + bias).relu()
    return (hidden @ second.view(HIDDEN, classes) + last).log_softmax(-1)


ENTRY = Entry(
    name="poft",
    numbers=("#51",),
    source="Fan et al. 2024, arXiv:2412.12865, equation 5.",
    claim="With many bad rows, it learns what the good ones say better than imitation does.",
    world="600 points of five classes, 40% labelled at random; three models of clean rows judge.",
    worlds=("labelled",),
    baseline=(
        "`sft` on the same rows, same steps. Beside it, without a bound: `sft` with rows weighted "
        "by the aligned models' likelihood, which does better still."
    ),
    control="The same loss with the aligned models' opinions shuffled among the rows.",
    bounds=(Bound("gain", "accuracy on clean rows after 150 steps, above sft", at_least=0.05),),
    run=run,
    seeds=5,
)
