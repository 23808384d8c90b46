"""Instructions that a program can check teach a reward to read instructions, out of plain pairs.

World: responses of a few words, of which some are good; pairs are judged by Bradley-Terry, one
unit a good word, and no prompt of theirs holds an instruction. `with_instructions` makes rows of
them with six checkers. The reward is linear in the words of a response and, for each kind of
instruction, in whether the response obeys or breaks those of the prompt: it can read, and has to
learn what obeying is worth. Words cancel in the added rows, so quality is only at stake through
the share of the steps that they take.
Truth: of six responses to a new prompt with three instructions, which ones obey most; and which of
two responses to a plain prompt has more good words.
"""

import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import margin_dpo
from prefine.records import Candidate, Judgment, Message, Rater, Record, Records, Source, View
from prefine.records.instructions import FAMILIES, TEXTS, Instruction, proposed, words
from prefine.records.levels import with_instructions
from prefine.scores import Scores

PAIRS, PROMPTS, CHOICES, TOLD, STEPS, RATE = 500, 500, 6, 3, 300, 0.03
CHECKERS = ("words", "keyword", "start", "end", "script", "case")
GOOD = ("kind", "clear", "warm", "calm", "fair")
OTHER = ("stone", "paper", "Café", "Paris", "train", "cloud", "table", "green", "spoon", "lamp")
VOCABULARY = tuple(word.lower() for word in GOOD + OTHER)
KINDS = tuple(kind for family in CHECKERS for kind in FAMILIES[family])
JUDGE = Rater("count", "rule")
Item = tuple[str, str]
"""The text of a prompt, and of a response."""


def run(seed: int) -> Metrics:
    """Train on pairs, on pairs with rows of both levels, and on such rows with truths at random."""
    rng = random.Random(seed)
    pairs = Records.of(judged(rng)).pairs()
    levels = {"intra": 1.0, "inter": 1.0}
    made = with_instructions(pairs, levels, seed, as_lists=True, checkers=CHECKERS)
    arms: dict[str, list[list[Item]]] = {
        "": [*items(made)],
        "/control": [at_random(row, rng) for row in items(made)],
        "/baseline": [*items(pairs)],
        "/intra alone": [row for row in items(made) if len(row) == 2],
    }
    tests, plain = asked(rng), table([[("", text) for text in two] for two in twos(PROMPTS, rng)])
    found: dict[str, float] = {}
    for name, rows in arms.items():
        weights = fit(rows, seed)
        found[f"obeys most{name}"] = obeys(weights, tests)
        found[f"quality{name}"] = float(((plain @ weights).diff(dim=1) < 0).double().mean())
    lost = {name: found["quality/baseline"] - found[f"quality{name}"] for name in ("", "/control")}
    return found | {f"quality lost{name}": value for name, value in lost.items()}


def said(rng: random.Random) -> str:
    """A response."""
    return " ".join(rng.choice(GOOD + OTHER) for _ in range(rng.randint(3, 9)))


def worth(text: str) -> int:
    """How many good words it has."""
    return sum(word in GOOD for word in words(text))


def twos(count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield pairs of responses that differ in good words, the one with more of them first."""
    made = 0
    while made < count:
        one, other = said(rng), said(rng)
        if worth(one) != worth(other):
            yield (one, other) if worth(one) > worth(other) else (other, one)
            made += 1


def judged(rng: random.Random) -> Iterator[Record]:
    """Yield plain pairs."""
    for at, two in enumerate(twos(PAIRS, rng)):
        names, gap = ("c0", "c1"), worth(two[0]) - worth(two[1])
        winner = names[rng.random() > 1 / (1 + math.exp(-gap))]
        yield Record(
            source=Source("world", row=at),
            context=(Message("user", f"Say something, {at}."),),
            candidates=tuple(
                Candidate(name, (Message("assistant", text),))
                for name, text in zip(names, two, strict=True)
            ),
            judgments=(Judgment("j", "pair", names, JUDGE, winner=winner),),
        )


def items(view: View) -> Iterator[list[Item]]:
    """Yield the items of each row as texts."""
    for row in view.rows:
        prompts = [json.loads(prompt)["messages"][-1]["content"] for prompt in row["prompts"]]
        responses = [json.loads(response)[0]["content"] for response in row["responses"]]
        yield [(prompts[item["prompt"]], responses[item["response"]]) for item in row["items"]]


def at_random(row: list[Item], rng: random.Random) -> list[Item]:
    """The row with its prompts the other way round in half of the cases; a plain pair as it is."""
    same_prompt = len(row) == 2 and row[0][0] == row[1][0]
    half = len(row) // 2
    return [*row[half:], *row[:half]] if not same_prompt and rng.random() < 0.5 else row


@cache
def told(prompt: str) -> tuple[Instruction, ...]:
    """Return the instructions that a prompt holds."""
    read: list[Instruction] = []
    for line in re.findall(r"[^.\n]+\.", prompt):
        for kind in KINDS:
            found = re.fullmatch(re.escape(TEXTS[kind]).replace(r"\{\}", "(.+)"), line.strip())
            if found:
                read.append(Instruction(kind, *found.groups()))
    return tuple(read)


def features(item: Item) -> list[float]:
    """How often each word is there, and +1 or -1 for each kind of instruction."""
    prompt, text = item
    counts = [float(words(text).count(word)) for word in VOCABULARY]
    matches = dict.fromkeys(KINDS, 0.0)
    for one in told(prompt):
        matches[one.kind] += 1.0 if one.holds(text) else -1.0
    return [*counts, *matches.values()]


def table(rows: Sequence[list[Item]], width: int = 0) -> Tensor:
    """Return [B, K, D] features of rows; zeros where a row has fewer than `width` items."""
    blank: list[float] = [0.0] * (len(VOCABULARY) + len(KINDS))
    filled = [[*map(features, row), *[blank] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.float64)


def fit(rows: Sequence[list[Item]], seed: int) -> Tensor:
    """Return the weights of the features that the rows teach."""
    shown = table(rows, 4)
    whole = torch.tensor([[True, True, len(row) == 4, len(row) == 4] for row in rows])

    def scores(weights: Tensor, at: Tensor) -> Scores:
        policy = shown[at] @ weights
        ones = torch.ones_like(policy)
        return Scores(policy, ones, reference=torch.zeros_like(policy), valid=whole[at])

    start = torch.zeros(shown.shape[-1], dtype=shown.dtype)
    loss: Any = partial(margin_dpo, beta=1.0)
    return descend(loss, scores, start, len(rows), steps=STEPS, rate=RATE, seed=seed)


def asked(rng: random.Random) -> tuple[Tensor, Tensor]:
    """Features of responses to prompts with three instructions, and how many each obeys."""
    rows: list[list[Item]] = []
    counts: list[list[int]] = []
    while len(rows) < PROMPTS:
        texts = [said(rng) for _ in range(CHOICES)]
        given = [rng.choice([*proposed(family, texts)]) for family in rng.sample(CHECKERS, TOLD)]
        obeyed = [sum(one.holds(text) for one in given) for text in texts]
        if len(set(obeyed)) > 1:
            prompt = "\n".join(["Say something.", *(one.text for one in given)])
            rows.append([(prompt, text) for text in texts])
            counts.append(obeyed)
    return table(rows), torch.tensor(counts)


def obeys(weights: Tensor, tests: tuple[Tensor, Tensor]) -> float:
    """Return the share of prompts whose best response obeys as many as any does."""
    shown, obeyed = tests
    best = (shown @ weights).argmax(1, keepdim=True)
    return float((obeyed.gather(1, best).squeeze(1) == obeyed.amax(1)).double().mean())


ENTRY = Entry(
    name="mapl",
    numbers=("#3",),
    source="MAPL, arXiv:2505.12845: rows of both levels; Rc-BT, arXiv:2502.00814, for its sibling.",
    claim="Comparisons of prompts, made by programs of pairs that hold no instruction, teach to "
    "follow several instructions at once, and leave what was learnt of quality as it was.",
    world="500 pairs of responses of 3 to 9 words; 500 prompts with three of six instructions.",
    baseline="The pairs alone.",
    control="The same rows, each with its two prompts in random order: truths drawn at random.",
    bounds=(
        Bound("obeys most", "new prompts whose best response obeys most", at_least=0.8),
        Bound("quality lost", "accuracy on plain pairs below the baseline", at_most=0.02,
              control=False),
    ),
    run=run,
    worlds=(),
)  # fmt: skip
