"""Versions of a response, each more damaged than the one before: labels of quality for free."""

import random
from collections.abc import Collection, Sequence
from typing import TypeVar

from prefine.errors import ConfigError

T = TypeVar("T")


def ladder(
    parts: Sequence[T],
    keys: Collection[int],
    *,
    steps: int = 3,
    filler: T | None = None,
    rng: random.Random,
) -> list[list[T]]:
    """Take what matters out of a response, step by step.

    Version d of D lacks a share d / D of the key parts, rounded, among them all that earlier
    versions lack.

    Args:
        parts: The response in parts: tokens, words, or sentences.
        keys: Positions of the parts that carry its content.
        steps: D, so that there are D + 1 versions; the number of a version is its degree.
        filler: Stands where a part was, so that all versions have as many parts; None removes it.
        rng: Draws the order in which parts go.

    Returns:
        The versions, the whole response first.

    Raises:
        ConfigError: If `steps` is below 1, or a position is not in the response.

    Source:
        SPO, arXiv:2409.17791.

    Example:
        >>> words = "the cat sat on the mat".split()
        >>> for version in ladder(words, [1, 2, 5], filler="...", rng=random.Random(0)):
        ...     print(" ".join(version))
        the cat sat on the mat
        the ... sat on the mat
        the ... sat on the ...
        the ... ... on the ...
    """
    outside = [at for at in keys if not 0 <= at < len(parts)]
    if steps < 1 or outside:
        raise ConfigError(
            f"A ladder has 1 step or more and takes out parts of a response of {len(parts)}; got "
            f"{steps} steps and positions {outside or sorted(keys)}."
        )
    order = sorted(keys)
    rng.shuffle(order)
    versions: list[list[T]] = []
    for degree in range(steps + 1):
        gone = set(order[: round(degree / steps * len(order))])
        if filler is None:
            versions.append([part for at, part in enumerate(parts) if at not in gone])
        else:
            versions.append([filler if at in gone else part for at, part in enumerate(parts)])
    return versions
