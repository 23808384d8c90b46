"""What a policy is worth on held-out prompts: on pairs that people judged, and in its own words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.models import RewardModel, load_policy, load_tokenizer
from prefine.models.score import score_rows
from prefine.recipes.own_words import Floats, Judge, OwnWords, by_prompt, first_of_each_prompt
from prefine.records import Records
from prefine.records.functions import ask, function_named

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
        words = OwnWords(
            self.model, asked, self.judge, max_new_tokens=self.max_new_tokens, seed=self.seed
        )
        return words.of_network(network, base, adapter)


def judge_of(name: str, option: str = "--reward") -> Judge:
    """Return what rewards answers: a reward model, or `module:function` in TRL's form.

    The function is called as in `records.functions.ask`, and returns a number for each answer.

    Args:
        name: Of either.
        option: What asked for it, for messages.

    Raises:
        ConfigError: If there is no such function, or it returns what is no number.
    """
    if ":" not in name or Path(name).exists():
        model = RewardModel.load(name)
        return lambda records: model(records).value[:, 0].numpy()
    function = function_named(name, option)

    def numbers(records: Records) -> Floats:
        answers = ask(function, name, option, records)
        try:
            return np.array(answers, dtype=np.float64).reshape(len(answers))
        except (TypeError, ValueError):
            raise ConfigError(
                f"{option} {name} must return one number for each answer, or None; it returned "
                f"{answers[0]!r} for the first of {len(answers)}."
            ) from None

    return numbers


def _right(gap: Floats) -> Floats:
    """1 where a gap is above 0, a half where it is 0."""
    return (gap > 0) + 0.5 * (gap == 0)
