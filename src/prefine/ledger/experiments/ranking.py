"""A policy ranks a pair right where its loss is below a threshold that the reference sets.

World: 400 prompts with twenty responses and a reference of strong opinions (logits N(0, 64)); pairs
are judged by Bradley-Terry; `dpo` with beta 0.1 is looked at after 5, 20 and 60 steps.
Truth: every log-probability is known, so every pair can be looked at.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prefine.evaluation import flip_loss, idealised_accuracy, ranking_accuracy
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Tabular
from prefine.objectives import dpo, gamma_dpo
from prefine.objectives.declare import Loss
from prefine.scores import Scores

BETA, RATE, STEPS = 0.1, 0.1, (5, 20, 60)
PROMPTS, RESPONSES, OPINION = 400, 20, 8.0

method = partial(dpo, beta=BETA)


def run(seed: int) -> Metrics:
    """Train with a reference of strong opinions and with one of none, and look at every pair."""
    world = Tabular.drawn(seed, prompts=PROMPTS, responses=RESPONSES, tilt=OPINION)
    even = Tabular.drawn(seed, prompts=PROMPTS, responses=RESPONSES, tilt=0.0)
    path, free = trained(method, world, seed), trained(partial(gamma_dpo, gamma=0.0), world, seed)
    counts = [accuracies(scores) for scores in path]
    without = accuracies(trained(method, even, seed)[0])
    reference = counts[0]["reference_accuracy"]
    return {
        "agreement": agreement(path, of_reference=True),
        "agreement/control": agreement(path, of_reference=False),
        "lead": counts[0]["reward_accuracy"] - counts[0]["accuracy"],
        "lead/control": without["reward_accuracy"] - without["accuracy"],
        "accuracy": counts[-1]["accuracy"],
        "accuracy/baseline": reference,
        "accuracy/gamma 0": accuracies(free[-1])["accuracy"],
        "accuracy/idealised": idealised(path[0]),
        "flipped early": counts[0]["flipped_right"],
        "flipped late": counts[-1]["flipped_right"],
    }


def trained(loss: Loss, world: Tabular, seed: int) -> list[Scores]:
    """Return the scores of all pairs after some of the steps."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    anything = torch.zeros_like(world.reference).log_softmax(-1)
    pairs = world.some_pairs(PROMPTS, generator, behaviour=anything)
    path: list[Scores] = []

    def scores(logits: Tensor, at: Tensor) -> Scores:
        rows = pairs.take(at)
        return world.scores(logits.log_softmax(-1), rows)

    def keep(step: int, logits: Tensor) -> None:
        if step in STEPS:
            path.append(world.scores(logits.log_softmax(-1), pairs))

    descend(
        loss, scores, world.reference, PROMPTS,
        steps=max(STEPS), batch=PROMPTS, rate=RATE, decay=False, on_step=keep,
    )  # fmt: skip
    return path


def agreement(path: list[Scores], *, of_reference: bool) -> float:
    """Return for which share of pairs the threshold tells which response is likelier.

    Args:
        path: Scores after some steps.
        of_reference: Whether the threshold is that of the pair's reference; log 2 otherwise, which
            is that of a reward in favour of the chosen response.
    """
    found: list[Tensor] = []
    for scores in path:
        reference = reference_of(scores)
        threshold = torch.from_numpy(flip_loss(reference if of_reference else 0 * reference))
        is_right = scores.policy[:, 0] > scores.policy[:, 1]
        found.append((method(scores) < threshold) == is_right)
    return float(torch.cat(found).double().mean())


def reference_of(scores: Scores) -> NDArray[np.float64]:
    """Return [n, 2] the log-probabilities of the reference."""
    return (scores.policy - scores.log_ratio).numpy()


def accuracies(scores: Scores) -> dict[str, float]:
    """Return the accuracies and flips of a policy."""
    report = ranking_accuracy(scores.policy.numpy(), reference_of(scores))
    return {name: stat.value for name, stat in report.items()}


def idealised(scores: Scores) -> float:
    """Return the ranking accuracy that the penalty allows, three in four agreeing with a label."""
    return idealised_accuracy(reference_of(scores), beta=BETA).value


ENTRY = Entry(
    name="ranking_accuracy",
    numbers=("#11",),
    source="Chen et al. 2024, arXiv:2405.19534, theorem 4.1 and section 3.",
    claim=(
        "A pair is ranked right exactly where its loss is below a threshold of its reference, so "
        "rewards are right long before rankings are."
    ),
    world="400 prompts, twenty responses, reference logits N(0, 64); 400 pairs by Bradley-Terry.",
    baseline="The ranking accuracy of the reference; and of `gamma_dpo` with no share of it.",
    control=(
        "Of the threshold: the same without the reference's lead, log 2 for every pair. Of the "
        "lead: a reference of no opinion."
    ),
    bounds=(
        Bound("agreement", "share of pairs for which the threshold is right", at_least=1.0),
        Bound("lead", "reward accuracy less ranking accuracy after five steps", at_least=0.2),
    ),
    run=run,
)
