"""IPO on what the policy draws itself ends at the equilibrium of a game, without a reward.

World: games of one prompt and five responses, each pair with a preference of its own, so that
cycles occur; all pairs are weighted by how often the sampler draws both, so gradients are exact.
Truth: the equilibrium under a KL penalty, and the fixed point of the mixture with the reference.
"""

from collections.abc import Callable
from functools import partial
from statistics import mean

from torch import Tensor

from prefine.estimators import mixture, pair_weights
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.games import Game
from prefine.ledger.worlds.tabular import Tabular, total_variation
from prefine.objectives import dpo, ipo
from prefine.objectives.declare import Loss
from prefine.scores import Scores

TAU, SHARE = 0.2, 0.5
GAMES, STEPS, RATE = 4, 100, 0.3
Sampler = Callable[[Tensor], Tensor]
"""From the policy's log-probabilities [1, N] to those of what draws pairs."""


def run(seed: int) -> Metrics:
    """Return the means over some games."""
    found = [play(GAMES * seed + number) for number in range(GAMES)]
    return {name: mean(one[name] for one in found) for name in found[0]}


def play(seed: int) -> Metrics:
    """Train with each sampler and loss, and look at how much a rival could gain."""
    game = Game.drawn(seed)
    squared = partial(ipo, tau=TAU, average=False)
    skewed = Tabular.drawn(10_000 + seed, responses=len(game.reference), tilt=2.0).reference
    own = trained(game, squared, lambda policy: policy)
    mixed = trained(game, squared, lambda policy: mixture(policy, game.reference[None], SHARE))
    fixed = trained(game, squared, lambda _: skewed)
    logistic = trained(game, partial(dpo, beta=TAU), lambda policy: policy)
    between = game.fixed_point(TAU, SHARE)[None]
    return {
        "gap": game.gap(own[0], TAU),
        "gap/control": game.gap(fixed[0], TAU),
        "gap/baseline": game.gap(logistic[0], TAU),
        "gap/ipo_md": game.gap(mixed[0], TAU),
        "distance": total_variation(mixed, between),
        "distance/control": total_variation(own, between),
    }


def trained(game: Game, loss: Loss, sampler: Sampler) -> Tensor:
    """Return [1, N] log-probabilities after many steps of exact gradients.

    Args:
        game: The preferences.
        loss: On pairs with soft labels.
        sampler: What draws the pairs.
    """
    rows, world = game.every_pair(), Tabular(game.reference[None], game.reference[None])

    def scores(logits: Tensor, _: Tensor) -> Scores:
        policy = logits.log_softmax(-1)
        drawn = pair_weights(sampler(policy.detach()), rows.prompt, rows.response)
        return world.scores(policy, rows, weight=drawn)

    count = len(rows)
    found = descend(
        loss, scores, world.reference, count,
        steps=STEPS, batch=count, rate=RATE, momentum=0.0,
    )  # fmt: skip
    return found.log_softmax(-1)


ENTRY = Entry(
    name="online_ipo",
    numbers=("#100",),
    source="Calandriello et al. 2024, arXiv:2403.08635, sections 3 to 5.",
    claim=(
        "IPO on pairs that the policy draws ends at the equilibrium of the preferences; IPO-MD, on "
        "pairs of a mixture with the reference, at a fixed point of its own."
    ),
    world="Four games of five responses, a preference drawn for each pair; exact gradients.",
    worlds=("games", "tabular"),
    baseline="Online `dpo` with the same soft labels.",
    control=(
        "Of the equilibrium: pairs from another policy that stays as it is, as in a data set. Of "
        "the fixed point: no mixture."
    ),
    bounds=(
        Bound("gap", "what the best answer gains over the policy", at_most=1e-3),
        Bound("distance", "total variation of IPO-MD to its fixed point", at_most=1e-3),
    ),
    run=run,
)
