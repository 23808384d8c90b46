"""Which factor of a recipe matters: effects and shares of variance of a full factorial."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.errors import StatisticError
from prefine.statistics.intervals import t_interval
from prefine.statistics.stat import Stat

Floats = NDArray[np.float64]
Levels = Mapping[str, Sequence[Hashable]]

REST = "interactions of three and more"


@dataclass(frozen=True, slots=True)
class Factorial:
    """What a study with every combination of its factors says.

    Attributes:
        effects: Factor -> level -> mean of its runs less the mean at the factor's first level, the
            other factors in equal parts; the first level itself is left out.
        shares: Factor, `"a x b"` for two at once, or `"interactions of three and more"` -> share of
            the variance between combinations of a seed. They add up to 1. Noise has its part in
            every share, as large as that term's degrees of freedom.
        spread: Factor -> largest difference between the means of its levels.
    """

    effects: Mapping[str, Mapping[Hashable, Stat]]
    shares: Mapping[str, Stat]
    spread: Mapping[str, Stat]


def factorial(
    runs: Sequence[Mapping[str, Any]],
    levels: Levels,
    *,
    outcome: str = "value",
    seed: str = "seed",
) -> Factorial:
    """Split the outcomes of a full factorial into effects, with intervals over seeds.

    Every combination of levels must have been run once with every seed. The numbers are taken of
    each seed by itself and averaged, so what a seed adds to all of its runs cancels.

    Args:
        runs: One mapping for each run: a level for each factor, the seed and the outcome.
        levels: Factor -> its levels; effects are against the first.
        outcome: Key of the number that is explained.
        seed: Key of the seed.

    Raises:
        StatisticError: If there are fewer than two factors, levels or seeds, a combination is
            absent or there twice, an outcome is not finite, or all of a seed's are the same.

    Source:
        Analysis of variance of a balanced design; as a study of recipes: Ivison et al. 2024,
        arXiv:2406.09279.

    Example:
        >>> runs = [
        ...     {"data": data, "loss": loss, "seed": seed, "value": 3.0 * (data == "clean") + seed}
        ...     for data in ("noisy", "clean") for loss in ("dpo", "ipo") for seed in range(2)
        ... ]
        >>> found = factorial(runs, {"data": ("noisy", "clean"), "loss": ("dpo", "ipo")})
        >>> found.effects["data"]["clean"].value, found.effects["loss"]["ipo"].value
        (3.0, 0.0)
        >>> found.shares["data"].value
        1.0
    """
    _check(levels)
    seeds = sorted({run[seed] for run in runs})
    if len(seeds) < 2:
        raise StatisticError(f"Intervals over seeds need two seeds or more, got {len(seeds)}.")
    values = np.stack([_cube(runs, levels, outcome, seed, one) for one in seeds])
    means = {
        name: values.mean(tuple(n for n in range(1, values.ndim) if n != at))
        for at, name in enumerate(levels, 1)
    }
    effects = {
        name: {
            level: t_interval(means[name][:, at] - means[name][:, 0])
            for at, level in enumerate(chosen)
            if at
        }
        for name, chosen in levels.items()
    }
    spread = {name: t_interval(found.max(1) - found.min(1)) for name, found in means.items()}
    split = [_split(cube, list(levels)) for cube in values]
    shares = {name: t_interval([one[name] for one in split]) for name in split[0]}
    return Factorial(effects, shares, spread)


def _check(levels: Levels) -> None:
    few = [name for name, chosen in levels.items() if len(set(chosen)) < 2]
    if len(levels) < 2 or few or any(len(set(c)) < len(c) for c in levels.values()):
        raise StatisticError(
            "A factorial needs two factors or more with two different levels or more each, got "
            f"{ {name: list(chosen) for name, chosen in levels.items()} }."
        )


def _cube(
    runs: Sequence[Mapping[str, Any]], levels: Levels, outcome: str, seed: str, one: Any
) -> Floats:
    """The outcomes of a seed, an axis for each factor."""
    found: dict[tuple[Hashable, ...], float] = {}
    for run in runs:
        if run[seed] != one:
            continue
        at = tuple(run[name] for name in levels)
        if at in found:
            raise StatisticError(f"seed {one}: {_named(levels, at)} was run twice.")
        found[at] = float(run[outcome])
    cells = list(product(*levels.values()))
    strange = found.keys() - set(cells)
    absent = [at for at in cells if at not in found]
    if strange or absent:
        at, what = (min(strange, key=str), "no level of") if strange else (absent[0], "absent from")
        raise StatisticError(
            f"seed {one}: {_named(levels, at)} is {what} the design. Effects of a design with gaps "
            "would mix the factors: run every combination with every seed."
        )
    values = np.array([found[at] for at in cells])
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise StatisticError(
            f"seed {one}: outcomes must be finite and not all the same, or there is no variance to "
            "share out."
        )
    return values.reshape([len(chosen) for chosen in levels.values()])


def _named(levels: Levels, at: tuple[Hashable, ...]) -> str:
    return ", ".join(f"{name} {level}" for name, level in zip(levels, at, strict=True))


def _split(cube: Floats, names: Sequence[str]) -> dict[str, float]:
    """Shares of the sum of squares of one seed."""
    axes = range(cube.ndim)
    centred = cube - cube.mean()
    total = float((centred**2).sum())
    main = {n: centred.mean(tuple(a for a in axes if a != n), keepdims=True) for n in axes}
    shares = {names[n]: float((_over(found, cube) ** 2).sum()) / total for n, found in main.items()}
    for a, b in combinations(axes, 2):
        both = centred.mean(tuple(n for n in axes if n not in (a, b)), keepdims=True)
        left = _over(both - main[a] - main[b], cube)
        shares[f"{names[a]} x {names[b]}"] = float((left**2).sum()) / total
    if cube.ndim > 2:
        shares[REST] = 1 - sum(shares.values())
    return shares


def _over(part: Floats, whole: Floats) -> Floats:
    return np.broadcast_to(part, whole.shape)
