"""Comparisons by a reward, after Bradley and Terry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prefine.records import Candidate, Record, Records


@dataclass(frozen=True)
class RewardComparison:
    """Compares by the difference of two rewards: P(i beats j) = sigmoid(r_i - r_j).

    Attributes:
        reward: Gives each record, which holds a single candidate, a number.

    Source:
        Bradley and Terry 1952.

    Example:
        >>> from prefine.records import Message, Source
        >>> longer = RewardComparison(lambda rs: np.array([len(r.candidates[0].text) for r in rs]))
        >>> two = tuple(Candidate(t, (Message("assistant", t),)) for t in ("yes", "no"))
        >>> record = Record(source=Source("s"), context=(Message("user", "?"),), candidates=two)
        >>> longer(Records.of([record]))[0, 0, 1].round(decimals=4)  # sigmoid(3 - 2)
        tensor(0.7311, dtype=torch.float64)
    """

    reward: Callable[[Records], NDArray[np.float64]]

    def __call__(self, records: Records) -> Tensor:
        """Return [R, K, K] the probability that candidate i is better than j; see `Comparison`."""
        asked = list(records)
        alone = Records.of(
            Record(
                source=record.source, context=record.context, tools=record.tools,
                candidates=(Candidate("c0", one.messages),), principal=record.principal,
            )
            for record in asked
            for one in record.candidates
        )  # fmt: skip
        values = iter(torch.as_tensor(np.asarray(self.reward(alone)), dtype=torch.float64))
        most = max((len(record.candidates) for record in asked), default=0)
        table = torch.full((len(asked), most), torch.nan, dtype=torch.float64)
        for r, record in enumerate(asked):
            for k in range(len(record.candidates)):
                table[r, k] = next(values)
        return torch.sigmoid(table[:, :, None] - table[:, None, :])
