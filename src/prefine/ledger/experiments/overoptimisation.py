"""A direct method goes too far like a reward model does: gold rises, then falls, along one law.

World: 20 prompts, 100 responses each, with twelve features; gold is 2 s - s^2 in a direction s of
them, so that one can have too much of it. 400 pairs by Bradley-Terry; the policy's log-ratio is
linear in the features, and is looked at along a run of `dpo`.
Truth: gold reward and KL of every policy are sums over all responses.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from prefine.evaluation import fit_overoptimisation
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, divergence
from prefine.objectives import dpo, ipo
from prefine.objectives.declare import Loss
from prefine.scores import Scores

PROMPTS, RESPONSES, FEATURES, PAIRS = 20, 100, 12, 400
WEAK, STRONG = 0.02, 0.5
STEPS, EVERY, RATE = 300, 5, 0.02


@dataclass(frozen=True)
class Path:
    """A run, from evaluation to evaluation.

    Attributes:
        distance: Square root of KL(policy || reference).
        gain: Gold reward less that of the reference.
    """

    distance: list[float]
    gain: list[float]

    @property
    def drop(self) -> float:
        """Share of the best gain that is lost by the end."""
        return 1 - self.gain[-1] / max(self.gain)


def run(seed: int) -> Metrics:
    """Run `dpo` with a weak and a strong penalty, and with a policy that can say what gold is."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(PROMPTS, RESPONSES, FEATURES, generator=generator, dtype=torch.float64)
    direction = torch.randn(FEATURES, generator=generator, dtype=torch.float64)
    liked = features @ (direction / direction.norm())
    gold = 2 * liked - liked.square()
    world = Tabular(gold, torch.zeros_like(gold).log_softmax(-1))
    pairs = world.some_pairs(PAIRS, generator)
    whole = torch.cat([features, liked.square()[..., None]], -1)
    weak = along(partial(dpo, beta=WEAK), world, features, pairs, seed)
    other = along(partial(ipo, tau=WEAK, average=False), world, features, pairs, seed)
    strong = along(partial(dpo, beta=STRONG), world, features, pairs, seed)
    able = along(partial(dpo, beta=WEAK), world, whole, pairs, seed)
    law = fit_overoptimisation(weak.distance, weak.gain)
    plain = fit_overoptimisation(able.distance, able.gain)
    return {
        "drop": weak.drop,
        "drop/control": able.drop,
        "drop/baseline": strong.drop,
        "drop/ipo": other.drop,
        "above a line": law.explained - law.explained_by_line,
        "above a line/able": plain.explained - plain.explained_by_line,
        "explained": law.explained,
        "distance of the peak": weak.distance[weak.gain.index(max(weak.gain))],
        "distance of the peak/law": law.peak or 0.0,
        "distance at the end": weak.distance[-1],
    }


def along(loss: Loss, world: Tabular, features: Tensor, pairs: Rows, seed: int) -> Path:
    """Train weights of the features, and return gold and distance on the way."""
    path = Path([], [])
    start = world.gold(world.reference)

    def policy(weights: Tensor) -> Tensor:
        return (world.reference + features @ weights).log_softmax(-1)

    def scores(weights: Tensor, at: Tensor) -> Scores:
        rows = pairs.take(at)
        return world.scores(policy(weights), rows)

    def keep(step: int, weights: Tensor) -> None:
        if step % EVERY == 0:
            path.distance.append(math.sqrt(divergence(policy(weights), world.reference)))
            path.gain.append(world.gold(policy(weights)) - start)

    weights = torch.zeros(features.shape[-1], dtype=features.dtype)
    descend(loss, scores, weights, PAIRS, steps=STEPS, rate=RATE, seed=seed, on_step=keep)
    return path


ENTRY = Entry(
    name="overoptimisation",
    numbers=("#58",),
    source="Rafailov et al. 2024, arXiv:2406.02900, section 3.",
    claim="With a weak penalty gold rises and then falls within a run, as one law of sqrt(KL).",
    world="20 prompts, 100 responses with 12 features; gold bends, policies are linear; 400 pairs.",
    baseline="A penalty 25 times as strong, same steps.",
    control="The same run of a policy that has the bend among its features: nothing to exploit.",
    bounds=(
        Bound("drop", "share of the best gain lost by the end", at_least=0.1),
        Bound(
            "above a line", "variance explained by the law less that by a line", at_least=0.1,
            control=False,
        ),
    ),
    run=run,
)  # fmt: skip
