"""Pedagogical alignment: pairs of a hint and an answer against more examples of the hint.

World: `Tutor` makes turns of students in five states out of solutions in steps; four replies, one
of which is right. A policy sees a state through a noisy picture of it (eight numbers) and chooses
a reply by a linear map. It has learnt from tutors of whom 60 of 100 give the answer. Then 200 pairs
of right reply and answer, or 200 right replies, or 400, change it in one pass of ten steps.
Truth: the reply that the rule table asks for, on 2000 new turns.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.curation import Tutor
from prefine.curation.tutor import ACTIONS, RULES
from prefine.evaluation import scaffolding_report
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import dpo, ipo, kto, sft
from prefine.objectives.unpaired import MISMATCHED
from prefine.records import Candidate, Message, Record, Source
from prefine.records import Step as Part
from prefine.scores import Scores

ROWS, CORPUS, NEW, SIZE, NOISE, ANSWERS = 200, 2000, 2000, 8, 0.8, 0.6
STEPS, RATES, BETA, TAU = 10, (0.01, 0.03, 0.1), 0.1, 0.1
STATES = tuple(RULES)
RIGHT = torch.tensor([ACTIONS.index(RULES[state]) for state in STATES])
ANSWER = ACTIONS.index("answer")


def run(seed: int) -> Metrics:
    """Change a tutor by pairs, in three ways, and by examples, in two amounts."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randn(len(STATES), SIZE, generator=generator, dtype=torch.float64)
    state, better, worse = turns(2 * ROWS, seed)
    see = partial(seen, picture, generator)
    corpus = torch.randint(len(STATES), (CORPUS,), generator=generator)
    gives = torch.rand(CORPUS, generator=generator) < ANSWERS
    said = torch.where(gives, ANSWER, RIGHT[corpus])
    nothing = torch.zeros(SIZE + 1, len(ACTIONS), dtype=torch.float64)
    start = trained(sft, see(corpus), said[:, None], nothing, nothing, seed, 200, 0.05)
    views, new = see(state), torch.randint(len(STATES), (NEW,), generator=generator)
    shown, few = see(new), slice(0, ROWS)
    pairs = torch.stack([better, worse], 1)
    thumbs = torch.cat([better[few], worse[few]])[:, None]
    label = torch.arange(2 * ROWS)[:, None] < ROWS
    twice = torch.cat([views[few], views[few]])
    arms: dict[str, Callable[[float], Tensor]] = {
        "dpo": lambda rate: change(partial(dpo, beta=BETA), views[few], pairs[few], rate),
        "ipo": lambda rate: change(partial(ipo, tau=TAU), views[few], pairs[few], rate),
        "kto": lambda rate: change(kto(beta=BETA), twice, thumbs, rate, label=label),
        "sft": lambda rate: change(sft, views[few], better[few, None], rate),
        "sft on twice": lambda rate: change(sft, views, better[:, None], rate),
    }

    def change(
        loss: Any, views: Tensor, actions: Tensor, rate: float, label: Tensor | None = None
    ) -> Tensor:
        return trained(loss, views, actions, start, start, seed, STEPS, rate, label)

    found = {
        name: max(judged(arm(rate), shown, new) for rate in RATES) for name, arm in arms.items()
    }
    before = judged(start, shown, new)
    metrics = {"right before": before[0], "hint gap before": before[1]}
    for name, (right, gap) in found.items():
        metrics |= {f"right, {name}": right, f"hint gap, {name}": gap}
    least = min(found[name] for name in ("dpo", "ipo", "kto"))
    return metrics | {
        "gain": least[0] - found["sft"][0],
        "gain/control": found["sft on twice"][0] - found["sft"][0],
        "hint gap": min(found[name][1] for name in ("dpo", "ipo", "kto")),
        "hint gap/control": found["sft on twice"][1],
    }


def turns(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, right replies and answers of as many turns as the operator makes."""
    found: list[tuple[int, int, int]] = []
    for problem in range(math.ceil(count / 10)):
        steps = tuple(Part(text=f"Step {n} is {problem + n}.") for n in range(10))
        record = Record(
            source=Source("world", row=problem),
            context=(Message("user", f"Problem {problem}?"),),
            candidates=(Candidate("c0", (Message("assistant", "Done."),), steps=steps),),
        )
        for made in Tutor(seed=seed)(record):
            if isinstance(made, Record):
                verdict = made.judgments[0]
                better, worse = (ACTIONS.index(name) for name in verdict.shown)
                found.append((STATES.index(str(made.tags["student"])), better, worse))
    state, better, worse = torch.tensor(found[:count]).T
    return state, better, worse


def seen(picture: Tensor, generator: torch.Generator, state: Tensor) -> Tensor:
    """Return [B, D + 1] what a policy sees of states, the last number being 1."""
    noise = torch.randn(len(state), SIZE, generator=generator, dtype=picture.dtype)
    return torch.cat([picture[state] + NOISE * noise, torch.ones(len(state), 1)], 1)


def trained(
    loss: Any, views: Tensor, actions: Tensor, start: Tensor, frozen: Tensor, seed: int,
    steps: int, rate: float, label: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the map after some steps, each over a tenth of the rows."""
    reference = (views @ frozen).log_softmax(-1)

    def scores(weights: Tensor, rows: Tensor) -> Scores:
        policy = (views[rows] @ weights).log_softmax(-1)
        said = actions[rows]
        other = said[:, 0].roll(1)[:, None]
        moved = (policy - reference[rows]).gather(1, other)[:, 0]
        return Scores(
            policy.gather(1, said), torch.ones(said.shape, dtype=policy.dtype),
            reference=reference[rows].gather(1, said),
            label=None if label is None else label[rows], columns={MISMATCHED: moved},
        )  # fmt: skip

    how: dict[str, Any] = {"steps": steps, "rate": rate, "seed": seed}
    return descend(loss, scores, start, len(views), batch=len(views) // 10, **how)


def judged(weights: Tensor, shown: Tensor, state: Tensor) -> tuple[float, float]:
    """Return the share of right replies, and how much likelier these are than the answer, nats."""
    policy = (shown @ weights).log_softmax(-1)
    both = torch.stack([policy.gather(1, RIGHT[state][:, None])[:, 0], policy[:, ANSWER]], 1)
    items = [
        {"prompt": 0, "response": k, "role": role} for k, role in enumerate(("chosen", "rejected"))
    ]
    row = {
        "items": items, "responses": ['[{"content": "r"}]'] * 2, "tie": False, "prob": None,
        "weight": 1.0, "tags": "{}",
    }  # fmt: skip
    rows = [{**row, "cluster": str(k)} for k in range(len(state))]
    gap = scaffolding_report(rows, both.tolist(), [[1.0, 1.0]] * len(state))["hint_gap"].value
    return float((policy.argmax(1) == RIGHT[state]).double().mean()), float(gap or 0.0)


ENTRY = Entry(
    name="tutor",
    numbers=("#91",),
    source="Pedagogical alignment, arXiv:2402.05000.",
    claim="Pairs of a right reply and the answer make a tutor of a policy that gives answers; as "
    "many examples of right replies, or twice as many, do so less well.",
    world="Five states of a student, four replies, a linear policy that gives answers 60 times in "
    "100; one pass over 200 rows.",
    baseline="Imitation of the right replies of the same rows.",
    control="Imitation of twice as many right replies, as many texts as the pairs hold.",
    bounds=(
        Bound("gain", "right replies above imitation, least of DPO, IPO and KTO", at_least=0.05),
        Bound("hint gap", "log-probability of the right reply less the answer's, least of three",
              at_least=0.0),
    ),
    run=run,
    worlds=(),
    grid={"rate": RATES},
    tried="On seeds from 100: each rate of the grid alone and the best of them, more noise (1.5), "
    "fewer rows (40). Pairs are ahead of as many examples by 0.01 at most, and behind twice as "
    "many: a right reply among four says nearly all that its pair with the answer says.",
)  # fmt: skip
