"""How stances move over the checkpoints of a run, and what is only sampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError

Floats = NDArray[np.float64]

REACHED = 0.95
"""Share of the largest distance at which a stance is said to have arrived."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a distribution over stances has moved, and when.

    Attributes:
        distance: [T] total variation to the first checkpoint.
        shift: [S] what the last checkpoint has more of each stance than the first.
        time: Share of the run at which `REACHED` of the largest distance was first reached; None
            where that distance may be sampling alone.
        null: What two samples of one checkpoint differ by at most, in 95% of cases.
    """

    distance: Floats
    shift: Floats
    time: float | None
    null: float

    @property
    def moved(self) -> bool:
        """Whether stances moved by more than sampling explains."""
        return bool(self.distance.max() > self.null)


def value_drift(
    stances: ArrayLike, *, draws: int = 1_000, seed: int = 0, reached: float = REACHED
) -> Drift:
    """Trace a topic's stances over checkpoints.

    Args:
        stances: [T, N, S] what a judge says of each of N answers (prompts, or samples of them) at
            each of T checkpoints: probabilities of S stances, which add up to 1.
        draws: Resamplings of the first checkpoint's answers for the null.
        seed: Of those.
        reached: Share of the largest distance that counts as having arrived.

    Raises:
        StatisticError: If there are fewer than two checkpoints or answers, or rows do not add up
            to 1.

    Source:
        Distributions and magnitudes: Value Drifts, arXiv:2510.26707; total variation, the share
        that counts as arrival and the null are ours.

    Example:
        >>> still = [[[1.0, 0.0]] * 40] * 3
        >>> value_drift(still).moved
        False
        >>> turned = [[[1.0, 0.0]] * 40, [[0.0, 1.0]] * 40, [[0.0, 1.0]] * 40]
        >>> found = value_drift(turned)
        >>> found.distance.tolist(), found.shift.tolist(), found.time
        ([0.0, 1.0, 1.0], [-1.0, 1.0], 0.5)
    """
    x = np.asarray(stances, dtype=np.float64)
    if x.ndim != 3 or min(x.shape[:2]) < 2:
        raise StatisticError(
            f"Drift needs two checkpoints and two answers or more, [T, N, S], got {x.shape}."
        )
    if not np.allclose(x.sum(-1), 1, atol=1e-3):
        raise StatisticError("The stances of an answer must add up to 1.")
    means = x.mean(1)
    distance = np.abs(means - means[0]).sum(-1) / 2
    null = _null(x[0], draws, np.random.default_rng(seed))
    largest = float(distance.max())
    arrived = np.flatnonzero(distance >= reached * largest)[0] / (len(x) - 1)
    return Drift(distance, means[-1] - means[0], float(arrived) if largest > null else None, null)


def value_gap(chosen: ArrayLike, rejected: ArrayLike) -> float:
    """Return how far apart the stances of chosen and rejected responses are, 0 to 1.

    A small gap says that training on these pairs will hardly move stances.

    Args:
        chosen: [N, S] stances of the chosen responses.
        rejected: [M, S] of the rejected ones.

    Example:
        >>> value_gap([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]])
        0.5
    """
    one, other = (np.asarray(each, dtype=np.float64).mean(0) for each in (chosen, rejected))
    return float(np.abs(one - other).sum() / 2)


def _null(answers: Floats, draws: int, rng: np.random.Generator) -> float:
    """95th percentile of the distance of two resampled halves of what one checkpoint says."""
    count = len(answers)
    found: Sequence[float] = [
        float(
            np.abs(
                answers[rng.integers(count, size=count)].mean(0)
                - answers[rng.integers(count, size=count)].mean(0)
            ).sum()
            / 2
        )
        for _ in range(draws)
    ]
    return float(np.quantile(found, 0.95))
