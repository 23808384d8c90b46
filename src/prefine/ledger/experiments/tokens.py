"""Losses that look at tokens: drift, length, and how likely the policy would have written a pair.

World: all sentences of up to five tokens of three words, under policies that are tables; 800 pairs
drawn from the reference and judged by people, who may like each word beside what it says.
Truth: probabilities, divergences, expected quality and expected length are exact.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.sentences import Sentences
from prefine.objectives import dpo, ld_dpo, length_normalised_dpo, tdpo1, tdpo2, wpo
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
PAIRS, STEPS, RATE, SPREAD = 800, 160, 0.05, 1.5
STRENGTHS, LOOSE, GOOD = (0.1, 0.3), 0.1, 0.8
PAID, BETA, TYPICAL, NATS = 0.7, 0.3, 3.0, 0.5
RANDOM_PAIRS, LONGEST, LEAN, CHANCE = 500, 50, 0.1, 0.2
WRITER, STRENGTH, MANY = 1.5, 0.1, 2_000


def followed(
    world: Sentences,
    loss: Loss,
    pairs: Tensor,
    measure: Callable[[Tensor], Sequence[float]],
    seed: int,
) -> tuple[Tensor, list[Sequence[float]]]:
    """Return the logits that a loss finds, and what was measured on the way."""
    path: list[Sequence[float]] = []

    def follow(step: int, logits: Tensor) -> None:
        if step % 4 == 0:
            path.append(measure(logits))

    found = world.fit(loss, pairs, steps=STEPS, rate=RATE, seed=seed, on_step=follow)
    return found, path  # fmt: skip


def where(path: list[Sequence[float]], level: float) -> float | None:
    """Return the second of two measures where the first passed a level, None if it never did."""
    for (x, y), (next_x, next_y) in pairwise(path):
        if x < level <= next_x:
            return y + (next_y - y) * (level - x) / (next_x - x)
    return None


def drift(world: Sentences, logits: Tensor, pairs: Tensor) -> tuple[float, float]:
    """Return the divergence of reference from policy along chosen and along rejected, nats."""
    chosen, rejected = world.scores(logits, pairs).elements["kl_reference"].sum(2).mean(0).tolist()
    return chosen, rejected


def run_drift(seed: int, make: Callable[..., Loss], without: Callable[..., Loss]) -> Metrics:
    """Return drifts after as many steps, and the divergence that the same quality costs."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Sentences.drawn(seed, spread=SPREAD)
    pairs = world.pairs(PAIRS, generator)

    def measure(logits: Tensor) -> tuple[float, float]:
        return world.expected(logits, world.quality), world.divergence(logits)

    found: dict[str, float] = {}
    cost: dict[str, float] = {}
    for arm, loss in (("", make), ("/control", without), ("/baseline", partial(partial, dpo))):
        costs: list[float] = []
        for beta in STRENGTHS:
            logits, path = followed(world, loss(beta=beta), pairs, measure, seed)
            price = where(path, GOOD)
            costs += [] if price is None else [price]
            if beta == LOOSE:
                chosen, rejected = drift(world, logits, pairs)
                found |= {f"excess{arm}": rejected - chosen, f"rejected{arm}": rejected}
                found[f"quality{arm}"] = world.expected(logits, world.quality)
        cost[arm] = min(costs)
    plain = {name: found[f"{name}/baseline"] for name in ("excess", "rejected")}
    return {
        **{f"lag{arm}": found[f"excess{arm}"] - plain["excess"] for arm in ("", "/control")},
        **{f"drift{arm}": found[f"rejected{arm}"] / plain["rejected"] for arm in ("", "/control")},
        **{f"cost{arm}": cost[arm] / cost["/baseline"] for arm in ("", "/control")},
        **{name: value for name, value in found.items() if name.startswith("quality")},
    }


def run_tdpo1(seed: int) -> Metrics:
    """Drift of both responses inside the margin."""
    return run_drift(seed, partial(partial, tdpo1), partial(partial, dpo))


def run_tdpo2(seed: int) -> Metrics:
    """Drift with a weight, that of the chosen without gradient."""
    return run_drift(seed, partial(partial, tdpo2), partial(partial, tdpo2, alpha=0.0))


def long_and_short(seed: int) -> Scores:
    """Return pairs of random lengths, each of whose tokens has gained a little more than lost."""
    generator = torch.Generator().manual_seed(3_000 + seed)
    shape = (RANDOM_PAIRS, 2)
    length = torch.randint(5, LONGEST + 1, shape, generator=generator)
    mask = torch.arange(LONGEST) < length[..., None]
    noise = torch.randn(*shape, LONGEST, generator=generator, dtype=torch.float64)
    gained = torch.where(mask, LEAN + CHANCE * noise, 0.0)
    zero = torch.zeros_like(gained)
    elements = {"mask": mask, "log_prob": gained, "reference_log_prob": zero}
    total = gained.sum(2)
    return Scores(total, length.double(), reference=torch.zeros_like(total), elements=elements)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Return Spearman's correlation of two vectors."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def run_length(seed: int, make: Callable[..., Loss], beta: float) -> Metrics:
    """Return how far margins are length, and the length of what is written at one divergence."""
    random = long_and_short(seed)
    longer = random.length[:, 0] - random.length[:, 1]
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Sentences.drawn(seed, spread=SPREAD)
    pairs = world.pairs(PAIRS, generator, paid=PAID)
    same: dict[str, Loss] = {"": make(beta=beta), "/control": partial(dpo, beta=BETA)}
    found: dict[str, float] = {}
    for arm, loss in same.items():
        found[f"is length{arm}"] = rank_correlation(-loss(random), longer)
        for name, values in (("length", world.length), ("quality", world.quality)):

            def measure(logits: Tensor, values: Tensor = values) -> tuple[float, float]:
                return world.divergence(logits), world.expected(logits, values)

            logits, path = followed(world, loss, pairs, measure, seed)
            passed = where(path, NATS)
            found[f"{name}{arm}"] = measure(logits)[1] if passed is None else passed
    return {
        **found,
        "shorter": found["length/control"] - found["length"],
        "length/baseline": world.expected(world.reference, world.length),
    }


def run_ln(seed: int) -> Metrics:
    """Log-ratios per token."""
    return run_length(seed, partial(partial, length_normalised_dpo), BETA * TYPICAL)


def run_ld(seed: int) -> Metrics:
    """Tokens beyond the shorter response's left out."""
    return run_length(seed, partial(partial, ld_dpo, tail_weight=0.0), BETA)


def weights_of(scores: Scores) -> Tensor:
    """Return the [B] weights that `wpo` gives to pairs."""
    return (wpo(scores, beta=STRENGTH) / dpo(scores, beta=STRENGTH)).detach()


def of_others(scores: Scores) -> Tensor:
    """Return `wpo` with the weights of other pairs of the batch."""
    return weights_of(scores).roll(1) * dpo(scores, beta=STRENGTH)


def run_wpo(seed: int) -> Metrics:
    """Compare weighted pairs with what a policy writes, then learn from another writer's."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Sentences.drawn(seed, spread=SPREAD)
    shape = world.reference.shape
    moved = world.reference + WRITER * torch.randn(shape, generator=generator, dtype=torch.float64)
    own = world.pairs(MANY, generator, by=world.log_prob(moved))
    others = world.pairs(MANY, generator)
    weight = weights_of(world.scores(moved, others))

    def apart(weight: Tensor) -> float:
        shares = [torch.zeros_like(world.quality) for _ in range(2)]
        for pairs, of, share in ((own, torch.ones_like(weight), 0), (others, weight, 1)):
            shares[share].index_add_(0, pairs.flatten(), of.repeat_interleave(2))
        return float((shares[0] / shares[0].sum() - shares[1] / shares[1].sum()).abs().sum() / 2)

    plain = apart(torch.ones_like(weight))
    foreign = world.pairs(MANY, generator, by=world.log_prob(moved))
    arms = {
        "": partial(wpo, beta=STRENGTH),
        "/control": of_others,
        "/baseline": partial(dpo, beta=STRENGTH),
    }
    quality = {
        arm: world.expected(
            world.fit(loss, foreign, steps=STEPS, rate=RATE, seed=seed), world.quality
        )
        for arm, loss in arms.items()
    }
    return {
        "closed": 1 - apart(weight) / plain,
        "closed/control": 1 - apart(weight.roll(1)) / plain,
        **{f"gain{arm}": quality[arm] - quality["/baseline"] for arm in ("", "/control")},
        **{f"quality{arm}": value for arm, value in quality.items()},
        "apart/baseline": plain,
    }


WORLD = "364 sentences of up to five tokens of three words, under tables; 800 pairs{}."
COST = Bound("cost", "divergence that the same quality costs, over that of dpo", at_most=0.95)
IS_LENGTH = Bound("is length", "rank correlation of margin and length", at_most=0.3)
SHORTER = Bound(
    "shorter", "tokens fewer than under dpo, at the same divergence", at_least=0.02, control=False
)
GRID = {"beta": STRENGTHS}
SENTENCES = ("sentences",)

ENTRIES = (
    Entry(
        name="tdpo1",
        source="Zeng et al. 2024, arXiv:2404.11999, equation 14.",
        claim="Drift in the margin balances both responses' and buys quality for less divergence.",
        world=WORLD.format(" as people judge"),
        worlds=SENTENCES,
        grid=GRID,
        baseline="`dpo`, to whose drift and divergence all are held.",
        control="The margin without the drift, which is `dpo`.",
        bounds=(
            Bound("lag", "drift of rejected above chosen, nats beyond that of dpo", at_most=-0.3),
            COST,
        ),
        run=run_tdpo1,
        tried=(
            "Quality of 0.5 to 1.3 deviations and strengths of 0.1 to 1: all losses come to the "
            "same quality at the same divergence, within 3%."
        ),
    ),
    Entry(
        name="tdpo2",
        source="Zeng et al. 2024, arXiv:2404.11999, equation 17.",
        claim="With a weight, drift is held down, and quality costs less divergence.",
        world=WORLD.format(" as people judge"),
        worlds=SENTENCES,
        grid=GRID,
        baseline="`dpo`, to whose drift and divergence all are held.",
        control="The same loss with a weight of 0.",
        bounds=(
            Bound("drift", "drift of the rejected, over that of dpo", at_most=0.7),
            COST,
        ),
        run=run_tdpo2,
        tried=(
            "Weights of 0.5 and 1, quality of 0.5 to 1.3 deviations and strengths of 0.1 to 1. "
            "After as many steps the divergence is much lower, and the quality too: at the same "
            "quality it is lower by a few per cent, and by less against `dpo` with a larger beta."
        ),
    ),
    Entry(
        name="length_normalised_dpo",
        numbers=("#93",),
        source="Ahrabian et al. 2024, arXiv:2407.15229.",
        claim="Margins per token are not about length, so what is written stays shorter.",
        world=WORLD.format(", by people who like each word as well"),
        worlds=SENTENCES,
        baseline="The reference as it came.",
        control="Sums in place of means, which is `dpo` of the same strength at three tokens.",
        bounds=(IS_LENGTH, SHORTER),
        run=run_ln,
        tried=(
            "Strengths of 0.3 to 3, at divergences of 0.2 to 1 nat and at equal quality. Margins "
            "lose their length; what is written is shorter in some worlds and longer in others, "
            "and shorter by less than a tenth of a token in most."
        ),
    ),
    Entry(
        name="ld_dpo",
        source="Liu et al. 2024, arXiv:2409.06411, equation 10.",
        claim="Without the tokens by which one response is longer, length counts for less.",
        world=WORLD.format(", by people who like each word as well"),
        worlds=SENTENCES,
        baseline="The reference as it came.",
        control="All tokens, which is `dpo`.",
        bounds=(IS_LENGTH, SHORTER),
        run=run_ld,
        tried=(
            "Weights of 0 and one half for the longer end. Margins lose their length; what is "
            "written is shorter in some worlds and longer in others. That the longer response did "
            "not end where the shorter one did is said by a token within the shared length, so "
            "the wish for length is learnt all the same."
        ),
    ),
    Entry(
        name="wpo",
        source="Zhou et al. 2024, arXiv:2406.11827, equations 5 and 6.",
        claim="Weights make another writer's pairs like the policy's own, and learning better.",
        world="364 sentences of up to five tokens of three words; 2,000 pairs of another writer.",
        worlds=SENTENCES,
        baseline="`dpo` on the same pairs: no weights.",
        control="The weights of other pairs.",
        bounds=(
            Bound("closed", "share of the distance to own sentences that is closed", at_least=0.1),
            Bound("gain", "expected quality above dpo", at_least=0.05),
        ),
        run=run_wpo,
        tried=(
            "Strengths of 0.1 and 0.5, with and without the clamp, and a policy that knows no "
            "places. The weights close about a fifth of the distance, since a mean over tokens is "
            "flatter than their product; quality moves either way, and further rounds on the "
            "policy's own sentences gain far more."
        ),
    ),
)
