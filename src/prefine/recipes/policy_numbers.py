"""What a policy is worth on held-out prompts: on pairs that people judged, and in its own words."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.models import RewardModel, load_policy, load_tokenizer
from prefine.models.score import score_rows
from prefine.records import Records
from prefine.records.views import candidates_view
from prefine.sampling import LanguageSampler

Floats = NDArray[np.float64]
Judge = Callable[[Records], Floats]

MEANINGS = {
    "reward_accuracy": "the better response of a held-out pair gained more against the model",
    "ranking_accuracy": "the better response of a held-out pair is the likelier one",
    "reward": "reward of what the policy itself answers",
    "kl": "log-probability of its own answers minus that under the model, nats",
    "length": "tokens of its own answers",
}
"""What is measured of each held-out prompt."""


@dataclass(frozen=True)
class Yardstick:
    """Held-out data, and the model that every policy is held against.

    Attributes:
        model: Folder or Hub name.
        records: Held-out records with pairs.
        samples: Prompts that are answered, the first of them; 0 for none.
        judge: Rewards of answers, or None.
        max_new_tokens: Longest answer.
        max_length: Longest prompt plus response.
        seed: Of the answers.
    """

    model: str
    records: Records
    samples: int
    judge: Judge | None
    max_new_tokens: int = 256
    max_length: int | None = 1024
    seed: int = 0

    def measure(self, policy: str) -> dict[str, dict[str, float]]:
        """Return `{measure: {prompt: value}}`; a prompt with several pairs has their mean."""
        adapter = CausalLM(load_tokenizer(self.model), max_length=self.max_length)
        network, base = load_policy(policy), load_policy(self.model)
        found = self._pairs(network, base, adapter)
        if self.samples:
            found |= self._answers(network, base, adapter)
        return found

    def _pairs(self, network: Any, base: Any, adapter: CausalLM) -> dict[str, dict[str, float]]:
        rows = adapter.prepare(self.records.pairs()).dataset
        if not len(rows):
            raise ConfigError(
                "None of the held-out records holds a pair with a winner, so there is nothing to "
                "measure on. Hold more out, or name data that has pairs."
            )
        ours, theirs = (np.array(score_rows(rows, each, adapter)) for each in (network, base))
        clusters = [row["cluster"] for row in rows]
        gap, gained = ours[:, 0] - ours[:, 1], (ours - theirs)[:, 0] - (ours - theirs)[:, 1]
        return {
            "reward_accuracy": by_prompt(clusters, _right(gained)),
            "ranking_accuracy": by_prompt(clusters, _right(gap)),
        }

    def _answers(self, network: Any, base: Any, adapter: CausalLM) -> dict[str, dict[str, float]]:
        asked = list(first_of_each_prompt(self.records))[: self.samples]
        sampler = LanguageSampler(network, adapter.tokenizer, max_new_tokens=self.max_new_tokens)
        answers = sampler(asked, n=1, seed=self.seed).records
        rows = adapter.prepare(candidates_view(answers)).dataset
        ours, theirs = (np.array(score_rows(rows, each, adapter)) for each in (network, base))
        clusters = [row["cluster"] for row in rows]
        length = np.array([float(sum(row["mask"][0])) for row in rows])
        found = {
            "kl": by_prompt(clusters, (ours - theirs)[:, 0]),
            "length": by_prompt(clusters, length),
        }
        if self.judge is not None:
            names = [record.cluster for record in answers]
            found["reward"] = by_prompt(names, self.judge(answers))
        return found


def by_prompt(clusters: Sequence[str], values: Floats) -> dict[str, float]:
    """Average numbers of one prompt; those that are not finite are left out.

    Example:
        >>> by_prompt(["a", "a", "b"], np.array([0.0, 1.0, 1.0]))
        {'a': 0.5, 'b': 1.0}
    """
    found: dict[str, list[float]] = {}
    for name, value in zip(clusters, values, strict=True):
        if np.isfinite(value):
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(each)) for name, each in found.items()}


def first_of_each_prompt(records: Records) -> Any:
    """Yield one record for each prompt, in order."""
    seen: set[str] = set()
    for record in records:
        if record.cluster not in seen:
            seen.add(record.cluster)
            yield record


def judge_of(name: str) -> Judge:
    """Return what rewards answers: a reward model, or `module:function` in TRL's form.

    The function is called as `f(prompts=[...], completions=[...])` with texts, and returns a number
    for each.

    Raises:
        ConfigError: If there is no such function.
    """
    if ":" not in name or Path(name).exists():
        model = RewardModel.load(name)
        return lambda records: model(records).value[:, 0].numpy()
    module, attribute = name.split(":", 1)
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--reward {name}: {error}. Name `module:function`.") from error

    def judge(records: Records) -> Floats:
        asked = list(records)
        given = function(
            prompts=[record.context[-1].text for record in asked],
            completions=[record.candidates[0].text for record in asked],
        )
        return np.array(given, dtype=np.float64)

    return judge


def _right(gap: Floats) -> Floats:
    """1 where a gap is above 0, a half where it is 0."""
    return (gap > 0) + 0.5 * (gap == 0)
