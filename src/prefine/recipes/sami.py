"""SAMI: follow written principles by telling one's own answers under them apart.

Each round the policy answers every request under each of a few instructions that contradict each
other (a constitution and its opposites), and is then trained to find an answer likelier under its
own instruction than under the others. No preferences, no demonstrations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prefine.errors import ConfigError
from prefine.records import Candidate, Record, View
from prefine.records.grids import grid_row
from prefine.records.table import view_schema, write_table

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Grid(Generic[P, R]):
    """One request under C instructions.

    Attributes:
        prompts: C prompts, the request with each instruction.
        responses: What was answered to each, in the same order.
    """

    prompts: tuple[P, ...]
    responses: tuple[R, ...]


def sami(
    requests: Sequence[Sequence[P]],
    sample: Callable[[Sequence[P], int], Sequence[R]],
    fit: Callable[[Sequence[Grid[P, R]], int], None],
    *,
    rounds: int = 3,
    seed: int = 0,
) -> Iterator[Sequence[Grid[P, R]]]:
    """Sample under each instruction, train, and again, with fresh samples in each round.

    Args:
        requests: For each request its C prompts, one an instruction. Repeat a request to have it
            answered several times.
        sample: `sample(prompts, seed)` returns one response of the policy as it is to each prompt.
        fit: `fit(grids, round)` trains the policy on `grid_contrast` of the grids.
        rounds: How often.
        seed: Of the samples; each round has another.

    Yields:
        The grids of each round, after it was trained on.

    Raises:
        ConfigError: If a request has one prompt or none, requests differ in their number, or
            `sample` does not answer every prompt.

    Source:
        Fränken et al. 2024, arXiv:2404.14313: two instructions, one response under
        each, up to three rounds.

    Example:
        >>> echo = lambda prompts, seed: [prompt.upper() for prompt in prompts]
        >>> seen = []
        >>> rounds = sami([["a", "b"]], echo, lambda grids, number: seen.append(number), rounds=2)
        >>> [grids[0].responses for grids in rounds], seen
        ([('A', 'B'), ('A', 'B')], [0, 1])
    """
    counts = {len(prompts) for prompts in requests}
    if len(counts) != 1 or min(counts) < 2:
        raise ConfigError(
            f"Every request needs one prompt for each of the same instructions, 2 or more; there "
            f"are requests with {sorted(counts)}."
        )
    count = counts.pop()
    flat = [prompt for prompts in requests for prompt in prompts]
    for number in range(rounds):
        said = sample(flat, seed + number)
        if len(said) != len(flat):
            raise ConfigError(f"`sample` gave {len(said)} responses to {len(flat)} prompts.")
        grids = [
            Grid(tuple(prompts), tuple(said[at * count : at * count + count]))
            for at, prompts in enumerate(requests)
        ]
        fit(grids, number)
        yield grids


def grid_view(grids: Sequence[Grid[Record, Candidate]]) -> View:
    """Return rows in which each response stands under every instruction, for an adapter.

    Args:
        grids: Of records, whose contexts are the prompts, and candidates.

    Returns:
        A view of lists, whose items have the roles of `prefine.objectives.grid.grid_term`.
    """
    rows = write_table((grid_row(one.prompts, one.responses) for one in grids), view_schema())
    return View("list", rows, (), (), {}, {"kind": "grid"})
