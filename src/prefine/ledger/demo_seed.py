"""One seed of the demo, from a language model to numbers."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefine.ledger.answers import Answers, ask, divergence
from prefine.ledger.base_model import BRIEFLY, BaseSettings, base_model
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import Annotator, Comparison, preferences, shuffled
from prefine.records import Records
from prefine.statistics import Stat, cluster_bootstrap, paired_cluster_bootstrap, proportion
from prefine.training.config import RunConfig
from prefine.training.run import train

Json = dict[str, Any]
Stage = Callable[[str], AbstractContextManager[Any]]
"""Announces a stage of a seed and shows that it is running."""

TRUTH = Annotator("gold")
"""The rater of held-out pairs, whose winner is the better answer by gold, without noise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a seed of the demo does; the same for the true and for the shuffled labels.

    Attributes:
        prompts: Prompts with pairs to train on.
        pairs: Pairs of answers to each.
        held_out: Prompts that no model was trained on, for every number reported.
        samples: Answers of each policy to each of them.
        beta: KL strength of DPO.
        learning_rate: Of DPO.
        reward_learning_rate: Of the reward model, whose head starts from nothing.
        batch_size: Pairs per step; every pair is seen once.
        base: How the language model is trained.
    """

    prompts: int = 3_000
    pairs: int = 2
    held_out: int = 400
    samples: int = 8
    beta: float = 0.5
    learning_rate: float = 3e-4
    reward_learning_rate: float = 3e-3
    batch_size: int = 64
    base: BaseSettings = field(default_factory=BaseSettings)

    def to_json(self) -> Json:
        """Return the settings as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Policies:
    """What the three policies answered to the held-out prompts.

    Attributes:
        sft: The language model before alignment.
        dpo: After DPO on the pairs.
        shuffled: After DPO on the same pairs with shuffled labels.
    """

    sft: Answers
    dpo: Answers
    shuffled: Answers


def run_seed(folder: Path, seed: int, settings: Settings, stage: Stage) -> Json:
    """Train and measure everything for one seed.

    Args:
        folder: Where `data/` and `runs/` are put.
        seed: Of prompts, language model, samples, labels and training.
        settings: What to do.
        stage: Called around each stage.

    Returns:
        `numbers` (as in `demo.json`), `examples`, `models` (name -> folder), `seconds`.
    """
    start = time.monotonic()
    asked = words.prompts(settings.prompts + settings.held_out, seed)
    training, held_out = asked[: settings.prompts], asked[settings.prompts :]
    with stage("the language model: learn the corpus, or take it from the cache"):
        sft = str(base_model(training, seed, settings.base))
    with stage("noisy pairs: it answers, annotators compare"):
        pairs = noisy_pairs(ask("sft", sft, training, 2 * settings.pairs, seed), seed)
        before = ask("sft", sft, held_out, settings.samples, seed)
        data = {
            "pairs": _save(folder, "pairs", pairs),
            "shuffled": _save(folder, "shuffled", shuffled(pairs, seed)),
            "held_out": _save(folder, "held_out", _true_pairs(before, settings.pairs)),
        }

    def fit(name: str, objective: str, pairs: str, rate: float, **options: Any) -> tuple[str, Json]:
        config = RunConfig(
            objective=objective,
            options=options,
            model=sft,
            data=data[pairs],
            eval_data=data["held_out"],
            out=str(folder / "runs" / name),
            seed=seed,
            training={
                **BRIEFLY,
                "per_device_train_batch_size": settings.batch_size,
                "learning_rate": rate,
            },
        )
        result = train(config, quiet=True)
        return str(result.folder / "model"), result.summary["metrics"]

    with stage("the reward model"):
        reward, reward_metrics = fit("reward", "reward", "pairs", settings.reward_learning_rate)
    with stage("DPO on the pairs"):
        dpo, _ = fit("dpo", "dpo", "pairs", settings.learning_rate, beta=settings.beta)
    with stage("the control: the same DPO on shuffled labels"):
        control, _ = fit("shuffled", "dpo", "shuffled", settings.learning_rate, beta=settings.beta)
    with stage("measure against the gold reward"):
        policies = Policies(
            before,
            ask("dpo", dpo, held_out, settings.samples, seed),
            ask("shuffled", control, held_out, settings.samples, seed),
        )
        numbers = compare(policies)
        numbers["kl"] = _divergence(policies.dpo, dpo, sft)
        numbers["shuffled"]["kl"] = _divergence(policies.shuffled, control, sft)
        numbers["reward_model"] = {
            name: reward_metrics[name]
            for name in ("accuracy", "baseline_longer", "difference_to_longer")
        }
    return {
        "numbers": numbers,
        "examples": examples(policies),
        "models": {"sft": sft, "dpo": dpo, "reward": reward},
        "seconds": time.monotonic() - start,
    }


def compare(policies: Policies) -> Json:
    """Return what the policies are worth, with intervals over prompts.

    Args:
        policies: Answers of all three to the same prompts, equally many to each.

    Returns:
        `gold_reward`, `validity`, `gold_per_word`, `length`: each with `sft`, `dpo` and
        `difference` (DPO minus SFT); `gold_reward` also with `shuffled_difference`; and
        `shuffled`: the other differences of the control.
    """
    clusters = policies.sft.clusters

    def difference(name: str, other: Answers) -> Json:
        ours, theirs = other.measure(name), policies.sft.measure(name)
        return paired_cluster_bootstrap(ours, theirs, clusters).to_json()

    numbers: Json = {}
    for key, name in MEASURES.items():
        mean = proportion if name == "validity" else cluster_bootstrap
        numbers[key] = {
            "sft": mean(policies.sft.measure(name), clusters).to_json(),
            "dpo": mean(policies.dpo.measure(name), clusters).to_json(),
            "difference": difference(name, policies.dpo),
        }
    control = {key: difference(name, policies.shuffled) for key, name in MEASURES.items()}
    numbers["gold_reward"]["shuffled_difference"] = control.pop("gold_reward")
    numbers["shuffled"] = control
    return numbers


MEASURES = {
    "gold_reward": "gold",
    "validity": "validity",
    "gold_per_word": "gold_per_word",
    "length": "length",
}
"""Key in `demo.json` -> name of the measure."""


def examples(policies: Policies, count: int = 6) -> list[Json]:
    """Return the first answer of each policy to the first held-out prompts: not chosen by hand."""
    return [
        {
            "prompt": prompt,
            "answers": {
                answers.policy: {
                    "text": answers.texts[at][0],
                    "gold": words.gold(prompt, answers.texts[at][0]),
                    "valid": words.valid(answers.texts[at][0]),
                }
                for answers in (policies.sft, policies.dpo, policies.shuffled)
            },
        }
        for at, prompt in enumerate(policies.sft.prompts[:count])
    ]


def noisy_pairs(answers: Answers, seed: int) -> list[Comparison]:
    """Have the answers to each prompt compared two by two, with the annotators' mistakes."""
    prompts, shown = _two_by_two(answers, most=len(answers.texts[0]) // 2)
    return preferences(prompts, shown, seed)


def _true_pairs(answers: Answers, most: int) -> list[Comparison]:
    """Pairs whose winner is known; two answers of equal gold have none and make no pair."""
    found: list[Comparison] = []
    for prompt, shown in zip(*_two_by_two(answers, most), strict=True):
        first, second = (words.gold(prompt, text) for text in shown)
        if first != second:
            found.append(Comparison(prompt, shown, int(second > first), TRUTH))
    return found


def _two_by_two(answers: Answers, most: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Put the answers to each prompt into pairs, at most so many of them."""
    prompts: list[str] = []
    shown: list[tuple[str, str]] = []
    for prompt, texts in zip(answers.prompts, answers.texts, strict=True):
        for first, second in list(zip(texts[::2], texts[1::2], strict=True))[:most]:
            prompts.append(prompt)
            shown.append((first, second))
    return prompts, shown


def _save(folder: Path, name: str, comparisons: Sequence[Comparison]) -> str:
    path = folder / "data" / f"{name}.jsonl"
    Records.of(c.record(row) for row, c in enumerate(comparisons)).save(path)
    return str(path)


def _divergence(answers: Answers, model: str, reference: str) -> Json:
    gaps, clusters = divergence(answers, model, reference)
    stat: Stat = cluster_bootstrap(gaps, clusters)
    return stat.to_json()
