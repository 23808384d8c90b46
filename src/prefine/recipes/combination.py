"""Adapters of several domains as one: their shares are chosen on a small memory of pairs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, NonFiniteError, RecordError
from prefine.models.combine import Mixture, adapters_of, combine_adapters
from prefine.models.export import Exported, new_folder

Shares = tuple[float, ...]

MOST = 20_000
"""Combinations that are tried at most: each scores the whole memory."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """Shares that were chosen.

    Attributes:
        shares: One for each, at least 0, of sum 1.
        loss: What was minimised, at these shares.
        tried: Every combination with its loss, in order.
    """

    shares: Shares
    loss: float
    tried: tuple[tuple[Shares, float], ...]

    @property
    def alone(self) -> list[float]:
        """The loss of each by itself."""
        of_one = {shares.index(1.0): loss for shares, loss in self.tried if 1.0 in shares}
        return [of_one[at] for at in range(len(self.shares))]


def choose_shares(loss: Callable[[Shares], float], count: int, *, parts: int = 10) -> Weighed:
    """Return the shares of sum 1 with the smallest loss, on a grid of whole parts (COFS-DPO).

    Args:
        loss: Of a combination, over a memory of pairs of all domains.
        count: How many are combined, two or more.
        parts: Steps of the grid from 0 to 1.

    Raises:
        ConfigError: If there is nothing to combine, or the grid is empty or too large.
        NonFiniteError: If a loss is not finite.

    Source:
        Qi et al. 2024, arXiv:2406.05534 (COFS-DPO). The grid is a choice of this library.

    Example:
        >>> found = choose_shares(lambda shares: (shares[0] - 0.32) ** 2, 2)
        >>> found.shares, len(found.tried)
        ((0.3, 0.7), 11)
    """
    if count < 2 or parts < 1:
        raise ConfigError(
            f"A combination takes two adapters or more and one part or more, got {count} and "
            f"{parts}."
        )
    grid = [tuple(part / parts for part in found) for found in _compositions(parts, count)]
    if len(grid) > MOST:
        raise ConfigError(
            f"{count} adapters in {parts} parts make {len(grid)} combinations, more than {MOST}. "
            "Take fewer parts."
        )
    tried = tuple((shares, float(loss(shares))) for shares in grid)
    for shares, value in tried:
        if value != value or abs(value) == float("inf"):
            raise NonFiniteError(f"The loss of the shares {shares} is {value}.")
    shares, least = min(tried, key=lambda pair: pair[1])
    return Weighed(shares, least, tried)


def _compositions(total: int, count: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, count - 1):
            yield first, *rest


def combine(
    adapters: Sequence[str],
    records: Any,
    out: Path | str,
    *,
    beta: float = 0.1,
    parts: int = 10,
    max_length: int | None = 1024,
    progress: bool = False,
) -> tuple[Weighed, Exported]:
    """Choose the shares of adapters by the mean DPO loss on a memory, and write their sum.

    The reference is the base without adapters.

    Args:
        adapters: Folders of runs or of adapters, on one base.
        records: The memory: pairs of every domain.
        out: Folder to write.
        beta: Strength of the loss.
        parts: Steps of the grid of shares.
        max_length: Longest prompt plus response, tokens.
        progress: Show a bar for each combination.

    Raises:
        ConfigError: If the adapters do not add up.
        RecordError: If the memory holds no pair.
        RunFolderError: If `out` is not empty.
    """
    import torch

    from prefine.adapters import CausalLM
    from prefine.models import load_tokenizer, score_rows
    from prefine.objectives import dpo
    from prefine.scores import Scores

    new_folder(out)
    folders = adapters_of(adapters)
    adapter = CausalLM(load_tokenizer(str(folders[0].path)), max_length=max_length)
    rows = adapter.prepare(records.pairs()).dataset
    if not len(rows):
        raise RecordError("The memory holds no pair with a winner, so no shares can be chosen.")
    mixture = Mixture(folders)
    with mixture.base() as base:
        reference = torch.tensor(score_rows(rows, base, adapter), dtype=torch.float64)

    def loss(shares: Shares) -> float:
        name = f"shares {', '.join(f'{share:g}' for share in shares)}" if progress else None
        scored = score_rows(rows, mixture.share(shares), adapter, progress=name)
        policy = torch.tensor(scored, dtype=torch.float64)
        scores = Scores(policy, torch.ones_like(policy), reference=reference)
        return float(dpo(scores, beta=beta).mean())

    found = choose_shares(loss, len(folders), parts=parts)
    return found, combine_adapters(adapters, found.shares, out)
