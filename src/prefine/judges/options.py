"""A language model asked which of two responses is better, by the probability of either option."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.estimators import both_orders
from prefine.models.score import score_rows
from prefine.records import Candidate, Message, Record, Records, Source
from prefine.records.message import spoken
from prefine.records.views import candidates_view

QUESTION = """Which of two responses to a request is better?

Request:
{prompt}

Response A:
{first}

Response B:
{second}

Answer with the letter of the better response alone: A or B."""
OPTIONS = ("A", "B")


@dataclass(frozen=True)
class OptionJudge:
    """Judges by how probable a model finds the answers "A" and "B"; both orders are asked.

    With both orders, a taste for what is shown first cancels. The policy itself may be the model;
    then it judges its own responses.

    Attributes:
        model: A causal language model.
        adapter: Encodes what it is asked.
        question: Text with places for `{prompt}`, `{first}` and `{second}`.
        options: The two answers.

    Raises:
        ConfigError: If the question lacks a place, or the options are not two.

    Source:
        OSP, arXiv:2405.14103: p(A | i, j) from the option's probability, averaged over both orders.
    """

    model: Any
    adapter: CausalLM
    question: str = QUESTION
    options: tuple[str, str] = OPTIONS

    def __post_init__(self) -> None:
        """Check the question."""
        missing = [
            name for name in ("{prompt}", "{first}", "{second}") if name not in self.question
        ]
        if missing or len(set(self.options)) != 2:
            raise ConfigError(
                "A question needs a place for {prompt}, {first} and {second}, and two different "
                f"options; {', '.join(missing) or 'a place'} is missing or options are "
                f"{self.options}."
            )

    def __call__(self, records: Records) -> Tensor:
        """Return [R, K, K] the probability that candidate i is better than j; see `Comparison`."""
        asked = list(records)
        most = max((len(record.candidates) for record in asked), default=0)
        first = torch.full((len(asked), most, most), torch.nan, dtype=torch.float64)
        view = candidates_view(Records.of(self._questions(asked)))
        rows = self.adapter.prepare(view).dataset
        scores = np.asarray(score_rows(rows, self.model, self.adapter), dtype=np.float64)
        places = list(_places(asked))
        for row, (one, other) in zip(rows, scores, strict=True):
            r, i, j = places[row["at"]]
            first[r, i, j] = 1 / (1 + np.exp(other - one))
        for r, record in enumerate(asked):
            for k in range(len(record.candidates)):
                first[r, k, k] = 0.5
        return both_orders(first)

    def _questions(self, asked: Sequence[Record]) -> Iterator[Record]:
        answers = tuple(
            Candidate(f"c{k}", (Message("assistant", text),)) for k, text in enumerate(self.options)
        )
        for n, (r, i, j) in enumerate(_places(asked)):
            record = asked[r]
            text = _filled(
                self.question,
                prompt=spoken(record.context),
                first=record.candidates[i].text,
                second=record.candidates[j].text,
            )
            yield Record(
                source=Source("judge", row=n), context=(Message("user", text),), candidates=answers
            )


def _places(asked: Sequence[Record]) -> Iterator[tuple[int, int, int]]:
    """Record and two of its candidates, in either order."""
    for r, record in enumerate(asked):
        for i, j in permutations(range(len(record.candidates)), 2):
            yield r, i, j


def _filled(question: str, **parts: str) -> str:
    """Fill the places at once, so that a place named in a response stays text.

    Example:
        >>> _filled("{first} or {second}", first="{second}", second="b", prompt="")
        '{second} or b'
    """
    found, rest = [], question
    while rest:
        at, name = min(
            ((rest.find(f"{{{name}}}"), name) for name in parts if f"{{{name}}}" in rest),
            default=(len(rest), ""),
        )
        found.append(rest[:at])
        found.append(parts[name] if name else "")
        rest = rest[at + len(name) + 2 :] if name else ""
    return "".join(found)
