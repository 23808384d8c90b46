"""What policies answer to the same prompts, how far that is from a reference, and its reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.adapters import CausalLM
from prefine.errors import RecordError
from prefine.models import load_policy, load_tokenizer
from prefine.models.score import score_rows
from prefine.records import Record, Records
from prefine.records.views import candidates_view
from prefine.sampling import LanguageSampler

Floats = NDArray[np.float64]
Judge = Callable[[Records], Floats]
OnModel = Callable[[str, int, int], None]
"""`on_model(name, done, of)`."""


@dataclass(frozen=True)
class OwnWords:
    """Asks policies the same prompts, one answer each, and holds them against a reference.

    Attributes:
        reference: Folder or Hub name; its tokenizer serves all.
        asked: Records whose contexts are the prompts, each prompt once.
        judge: Rewards of answers, or None.
        template: Chat template.
        max_new_tokens: Longest answer.
        max_length: Longest prompt plus response.
        seed: Of the answers; policies that are alike answer alike.
    """

    reference: str
    asked: Sequence[Record]
    judge: Judge | None = None
    template: str = "auto"
    max_new_tokens: int = 256
    max_length: int | None = 1024
    seed: int = 0

    def measure(self, policy: str) -> dict[str, dict[str, float]]:
        """Return `{kl, length, reward: {prompt: value}}`, reward only where there is a judge.

        A prompt is missing where an answer cannot be scored, as an empty one cannot.
        """
        adapter = CausalLM(
            load_tokenizer(self.reference), template=self.template, max_length=self.max_length
        )
        return self.of_network(load_policy(policy), load_policy(self.reference), adapter)

    def of_network(self, network: Any, base: Any, adapter: CausalLM) -> dict[str, dict[str, float]]:
        """Do so for models that are loaded already."""
        answers = self.answers(network, adapter)
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

    def answers(self, network: Any, adapter: CausalLM) -> Records:
        """Return one answer to each prompt."""
        sampler = LanguageSampler(
            network, adapter.tokenizer, template=self.template, max_new_tokens=self.max_new_tokens
        )
        return sampler(self.asked, n=1, seed=self.seed).records

    def measure_all(
        self, policies: Sequence[str], on_model: OnModel | None = None
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Measure the reference and then each policy; the reference is named `""`."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for done, name in enumerate(["", *policies]):
            if on_model is not None:
                on_model(name or self.reference, done, 1 + len(policies))
            found[name] = self.measure(name or self.reference)
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


def on_shared_prompts(
    found: Mapping[str, Mapping[str, Mapping[str, float]]], measures: Sequence[str]
) -> dict[str, dict[str, Floats]]:
    """Return {measure: {policy: [P]}} on the prompts that have every number under every policy.

    Raises:
        RecordError: If there are fewer than two.

    Example:
        >>> told = {"a": {"kl": {"x": 0.0, "y": 1.0, "z": 2.0}}, "b": {"kl": {"x": 3.0, "z": 4.0}}}
        >>> on_shared_prompts(told, ["kl"])["kl"]["a"]
        array([0., 2.])
    """
    runs = [set(numbers[name]) for numbers in found.values() for name in measures]
    shared = sorted(set.intersection(*runs))
    if len(shared) < 2:
        raise RecordError(
            f"Only {len(shared)} prompts have {' and '.join(measures)} under every policy: empty "
            "answers have none. Ask more prompts (--samples)."
        )
    return {
        name: {
            policy: np.array([numbers[name][p] for p in shared])
            for policy, numbers in found.items()
        }
        for name in measures
    }
