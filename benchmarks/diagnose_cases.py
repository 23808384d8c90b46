"""Runs made to be healthy, and runs made to have one illness each, on the word world.

A case is a healthy run with one thing changed. What is changed is the illness that must be named
first; what else shows is a consequence.

A healthy case is declared so here, before it is trained: raters whose noise is known, and a recipe
whose runs order held-out pairs better than chance, interval included, on the development worlds.
Every finding on such a run counts as a false alarm, whatever the run has learnt.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from prefine.ledger.answers import Answers, ask
from prefine.ledger.base_model import BaseSettings, base_model
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import ANNOTATORS, Annotator, Comparison, preferences
from prefine.records import Records

PROMPTS, HELD_OUT_PROMPTS, SAMPLES = 750, 120, 4
"""Prompts whose answers are compared, those held out, and answers to each: two pairs a prompt."""

RATES = {"dpo": 3e-4, "ipo": 3e-4, "kto": 3e-4, "simpo": 1e-3, "reward": 1.5e-3}
"""Learning rates that do well here."""

WARM_UP = {"reward": 0.1}
"""Share of the steps over which the rate rises: a new head's first gradients break the trunk."""

OPTIONS = {
    "dpo": {"beta": 0.5},
    "ipo": {"tau": 0.5, "average": False},
    "kto": {"beta": 0.5},
    "simpo": {"beta": 2.0, "gamma_over_beta": 0.1},
    "reward": {},
}


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        name: What it is called in the results.
        illness: What must be named first; "" for a healthy run.
        objective: By name.
        options: Of the objective.
        labels: Who compares: a key of `LABELS`.
        pairs: Pairs to train on.
        batch_size: Rows a step.
        rate: Learning rate over the one that does well.
        epochs: Passes over the data.
        reference: As in run.yaml; `other` is the model of another seed.
    """

    name: str
    illness: str = ""
    objective: str = "dpo"
    options: dict[str, Any] = field(default_factory=dict)
    labels: str = "raters"
    pairs: int = 1_440
    batch_size: int = 48
    rate: float = 1.0
    epochs: int = 1
    reference: str = "auto"


REWARD = Case("reward", objective="reward", labels="careful", batch_size=16, epochs=4)
"""A recipe for reward models that learns in every development world, and does not overfit there.

This small network orders no pair for its first hundred steps and then learns fast. One epoch at
twice the rate without a warm-up ended before that, or broke the trunk, in four of eight runs.
"""

HEALTHY = (
    Case("dpo"),
    Case("dpo, beta 0.2", options={"beta": 0.2}),
    Case("dpo, 960 pairs", pairs=960, batch_size=32),
    Case("dpo, careful raters", labels="careful"),
    Case("ipo", objective="ipo"),
    Case("simpo", objective="simpo"),
    Case("kto", objective="kto", pairs=720),
    REWARD,
    replace(REWARD, name="reward, 1500 pairs", pairs=1_500),
    Case("dpo, half the rate", rate=0.5),
)

ILL = (
    Case("another model as reference", "reference_mistaken", reference="other"),
    Case(
        "kto with another reference",
        "reference_mistaken",
        objective="kto",
        pairs=720,
        reference="other",
    ),
    Case("dpo, rate x 100", "learning_rate_too_large", rate=100),
    replace(REWARD, name="reward, rate x 200", illness="learning_rate_too_large", rate=200),
    Case("dpo, rate / 100", "learning_rate_too_small", rate=0.01),
    replace(REWARD, name="reward, rate / 1000", illness="learning_rate_too_small", rate=0.001),
    Case("beta 0.005", "beta_too_small", options={"beta": 0.005}, rate=3, epochs=2),
    Case("beta 20", "beta_too_large", options={"beta": 20.0}),
    Case("192 pairs, 8 epochs", "overfitting", pairs=192, epochs=8, rate=3),
    replace(
        REWARD,
        name="reward, 192 pairs, 12 epochs",
        illness="overfitting",
        labels="raters",
        pairs=192,
        epochs=12,
    ),
    Case(
        "beta 0.05, rate x 10",
        "over_optimisation",
        options={"beta": 0.05},
        rate=10,
        batch_size=24,
    ),
    Case("simpo, rate x 3, 3 epochs", "over_optimisation", objective="simpo", rate=3, epochs=3),
    Case(
        "beta 0.1, rate x 4, 2 epochs",
        "displacement",
        options={"beta": 0.1},
        labels="careful",
        pairs=1_500,
        rate=4,
        epochs=2,
    ),
    Case("raters flip 45%", "label_noise", labels="flipping"),
    replace(REWARD, name="reward, raters flip 45%", illness="label_noise", labels="flipping"),
    Case("raters like length", "length_bias", labels="long"),
    replace(REWARD, name="reward, raters like length", illness="length_bias", labels="long"),
    Case("shuffled words as rejected", "data_too_easy", labels="easy"),
    replace(REWARD, name="reward, shuffled words", illness="data_too_easy", labels="easy"),
)


@dataclass(frozen=True)
class World:
    """What a world's language model answered.

    Attributes:
        model: Its folder.
        other: Folder of another seed's model.
        train: Answers that are compared for training.
        held_out: Answers of prompts that are not trained on.
    """

    model: str
    other: str
    train: Answers
    held_out: Answers


@cache
def world(seed: int) -> World:
    """Make a world: its language model is trained once and cached."""
    model, asked = _model(seed)
    training, held_out = asked[:PROMPTS], asked[3_000 : 3_000 + HELD_OUT_PROMPTS]
    return World(
        model,
        _model(seed + 1)[0],
        ask("sft", model, training, SAMPLES, seed),
        ask("sft", model, held_out, SAMPLES, seed),
    )


def _model(seed: int) -> tuple[str, list[str]]:
    """The demo's language model of a seed: whoever ran the demo has it."""
    asked = words.prompts(3_400, seed)
    return str(base_model(asked[:3_000], seed, BaseSettings())), asked


LABELS = {
    "raters": ANNOTATORS,
    "careful": (Annotator("gold"),),
    "flipping": (Annotator("coin", flips=0.45),),
    "long": (Annotator("long", flips=0.02, length_bias=1.0),),
}


def comparisons(answers: Answers, labels: str, most: int, seed: int) -> list[Comparison]:
    """Have the answers compared, two by two, until there are `most` pairs."""
    prompts: list[str] = []
    shown: list[tuple[str, str]] = []
    for prompt, texts in zip(answers.prompts, answers.texts, strict=True):
        for pair in zip(texts[::2], texts[1::2], strict=True):
            prompts.append(prompt)
            shown.append(pair)
    order = random.Random(seed).sample(range(len(shown)), min(most, len(shown)))
    prompts, shown = [prompts[at] for at in order], [shown[at] for at in order]
    if labels == "easy":
        return _against_shuffled(prompts, shown, seed)
    return preferences(prompts, shown, seed, LABELS[labels])


def _against_shuffled(
    prompts: Sequence[str], shown: Sequence[tuple[str, str]], seed: int
) -> list[Comparison]:
    rng = random.Random(seed)
    found: list[Comparison] = []
    for prompt, (first, _) in zip(prompts, shown, strict=True):
        parts = first.split()
        rng.shuffle(parts)
        found.append(Comparison(prompt, (first, " ".join(parts)), 0, Annotator("gold")))
    return found


def configuration(case: Case, seed: int, folder: Path) -> dict[str, Any]:
    """Write a case's data and return its run.yaml."""
    made = world(seed)
    files: dict[str, str] = {}
    for part, answers, most in (("train", made.train, case.pairs), ("eval", made.held_out, 240)):
        path = folder / f"{part}.jsonl"
        told = comparisons(answers, case.labels, most, 1_000 * seed + len(part))
        Records.of(c.record(row) for row, c in enumerate(told)).save(path)
        files[part] = str(path)
    rows = case.pairs * (2 if case.objective == "kto" else 1)
    steps = max(1, rows // case.batch_size) * case.epochs
    return {
        "objective": case.objective,
        "options": {**OPTIONS[case.objective], **case.options},
        "model": made.model,
        "data": files["train"],
        "eval_data": files["eval"],
        "reference": made.other if case.reference == "other" else case.reference,
        "out": str(folder / "run"),
        "layout": "padded",  # faster at this size
        "seed": seed,
        "training": {
            "learning_rate": RATES[case.objective] * case.rate,
            "warmup_steps": WARM_UP.get(case.objective, 0),
            "num_train_epochs": case.epochs,
            "per_device_train_batch_size": case.batch_size,
            "per_device_eval_batch_size": 64,
            "eval_strategy": "steps",
            "eval_steps": max(1, steps // 3),
            "save_strategy": "no",
            "logging_steps": max(1, steps // 8),
            "dataloader_pin_memory": False,
            "use_cpu": True,
        },
    }


def healthy_runs(count: int, worlds: Sequence[int]) -> list[tuple[Case, int]]:
    """Return so many healthy runs: every case in turn, worlds and sizes varied."""
    found: list[tuple[Case, int]] = []
    for number in range(count):
        case = HEALTHY[number % len(HEALTHY)]
        again = number // len(HEALTHY)
        seed = worlds[again % len(worlds)]
        if again >= len(worlds):  # the same world again: with fewer pairs
            case = replace(case, name=f"{case.name}, fewer", pairs=int(case.pairs * 0.8))
        found.append((case, seed))
    return found


def ill_runs(worlds: Sequence[int]) -> list[tuple[Case, int]]:
    """Return every ill case in every world."""
    return [(case, seed) for case in ILL for seed in worlds]
