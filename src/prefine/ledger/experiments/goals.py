"""Reward-augmented data: the score that is asked for becomes a control, and the top stays as good.

World: 400 prompts with six responses that have ten features each, scored from 1 to 10 by a taste
among the features; neighbours in the order make pairs, which `Goals` makes twice. The policy's
log-ratio to the reference is linear in the features, and in the features times the goal.
Truth: the mean score that a policy earns on 400 new prompts, summed over their responses, when it
is asked for 10, for 5.5 and for 1.
"""

from functools import partial

import torch
from torch import Tensor

from prefine.curation import Goals
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import dpo
from prefine.records import Candidate, Judgment, Message, Rater, Record, Source
from prefine.scores import Scores

PROMPTS, RESPONSES, SIZE, BETA, STEPS, RATE = 400, 6, 10, 0.1, 400, 0.02
LOW, HIGH = 1.0, 10.0
JUDGE = Rater("judge", "model")
Rows = tuple[Tensor, Tensor, Tensor]
"""[B] prompts, [B, 2] responses, [B] goals from -1 to 1."""


def run(seed: int) -> Metrics:
    """Train on pairs, on pairs with goals, and on pairs with goals that swap nothing."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, PROMPTS, RESPONSES, SIZE, generator=generator, dtype=torch.float64)
    taste = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    score = LOW + (HIGH - LOW) * torch.sigmoid(2 * features @ (taste / taste.norm()))
    prompt, response, goal = swapped(score[0])
    kept = score[0][prompt[:, None], response].diff(dim=1).squeeze(1) > 0
    straight = torch.where(kept[:, None], response.flip(1), response)
    arms: dict[str, Rows] = {
        "": (prompt, response, goal),
        "/control": (prompt, straight, goal),
        "/baseline": (prompt, straight, torch.zeros_like(goal)),
    }
    found: dict[str, float] = {}
    for name, rows in arms.items():
        weights = fit(features[0], rows, seed)
        asked = {g: earned(features[1], score[1], weights, g) for g in (HIGH, 5.5, LOW)}
        found |= {f"score when asked for {g:g}{name}": value for g, value in asked.items()}
        found[f"reach of the goal{name}"] = asked[HIGH] - asked[LOW]
        found[f"between{name}"] = min(asked[HIGH] - asked[5.5], asked[5.5] - asked[LOW])
    top = f"score when asked for {HIGH:g}"
    return {**found, "cost at the top": found[f"{top}/baseline"] - found[top]}


def swapped(score: Tensor) -> Rows:
    """The rows that the operator makes of rated responses."""
    goals = Goals(low=LOW, high=HIGH, how="adjacent")
    found: list[tuple[int, int, int, float]] = []
    for prompt, scores in enumerate(score.tolist()):
        for made in goals(rated(prompt, scores)):
            if not isinstance(made, Record):
                continue  # two scores that read the same once they are rounded
            verdict = made.judgments[0]
            better = str(verdict.winner)
            worse = next(name for name in verdict.shown if name != better)
            found.append((prompt, int(better), int(worse), float(made.tags["goal"])))
    prompts, better, worse, goal = zip(*found, strict=True)
    return torch.tensor(prompts), torch.tensor([better, worse]).T, relative(torch.tensor(goal))


def rated(prompt: int, scores: list[float]) -> Record:
    """A prompt with its responses and their scores."""
    names = tuple(map(str, range(len(scores))))
    return Record(
        source=Source("world", row=prompt),
        context=(Message("user", f"prompt {prompt}"),),
        candidates=tuple(Candidate(name, (Message("assistant", name),)) for name in names),
        judgments=(
            Judgment(
                "r", "rate", names, JUDGE,
                scores=dict(zip(names, scores, strict=True)), scale=(LOW, HIGH),
            ),
        ),
    )  # fmt: skip


def relative(goal: Tensor) -> Tensor:
    """A goal as the policy reads it: -1 for the lowest score, 1 for the highest."""
    return (2 * goal.double() - LOW - HIGH) / (HIGH - LOW)


def fit(features: Tensor, rows: Rows, seed: int) -> Tensor:
    """Return the [2, D] weights of features, and of features times the goal."""
    prompt, response, goal = rows
    pairs = features[prompt[:, None], response]

    def scores(weights: Tensor, at: Tensor) -> Scores:
        policy = pairs[at] @ weights[0] + goal[at, None] * (pairs[at] @ weights[1])
        return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))

    start = torch.zeros(2, SIZE, dtype=features.dtype)
    loss = partial(dpo, beta=BETA)
    return descend(loss, scores, start, len(goal), steps=STEPS, rate=RATE, seed=seed)


def earned(features: Tensor, score: Tensor, weights: Tensor, goal: float) -> float:
    """Return the mean score of a policy that is asked for one."""
    asked = relative(torch.tensor(goal))
    policy = (features @ (weights[0] + asked * weights[1])).softmax(-1)
    return float((policy * score).sum(-1).mean())


ENTRY = Entry(
    name="goals",
    numbers=("#16",),
    source="Reward-augmented data, arXiv:2410.08067, and the official script that makes the data.",
    claim="Each pair twice, asked for the winner's score and, sides swapped, for the loser's: the "
    "score becomes a control, and the top is as good as after plain DPO.",
    world="400 prompts with six responses, ten features each, scored 1 to 10; log-linear policies.",
    baseline="DPO on the same pairs without a goal.",
    control="The same rows with their goals, where the better response wins under both.",
    bounds=(
        Bound("reach of the goal", "score when asked for 10 less that for 1", at_least=3.0),
        Bound("between", "least step of the score from 10 to 5.5 to 1", at_least=0.5),
        Bound("cost at the top", "score lost to plain DPO", at_most=0.3, control=False),
    ),
    run=run,
)  # fmt: skip
