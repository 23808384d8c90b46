"""Interfaces between packages, and the plain results they exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prefine.scores import ItemScores, Needs

Batch = dict[str, Any]
"""What `Adapter.collate` returns, moved to the device as a whole.

`rows`: {name: [B, ...]} (`weight` always; 0 and `absent` True for filling rows; what no row knows
is left out);
`index`: [B, K] positions of items, best first, -1 absent;
`roles`: {role: [B]} position of the item with that role, -1 where a row lacks it;
`complete`: the roles that no row lacks, and "" where no row of `index` lacks a response;
`unlabelled`: how many rows that count have a response without a label;
`items`: whatever the adapter needs to score the N items;
`units`: [N] scored units of each item, known before it is scored;
`seeds`: [N, 2] a row's seed and the item's number in it, where something is drawn; a NumPy array,
    which stays in the host's memory;
`response_length`: [N] tokens of each response that are scored, or would be after a prompt;
`degree`: [N] how many steps each item's response is damaged by, where some are; -1 for the others;
`features`: [N, H] the trunk's hidden states, where it is frozen; `items` is then empty;
`reference`: [N] cached reference scores, where they are known;
`records`: ids of the B records, for messages;
`mismatched`: a batch of the items with that role, scored without gradient when an objective asks.
"""


@dataclass(frozen=True, slots=True)
class Draw:
    """What policy and reference must share when scoring is random: noise, time, crops.

    Attributes:
        tensors: By name, each with N items along its first axis.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A view, encoded for one adapter.

    Attributes:
        dataset: Rows that `Adapter.collate` takes.
        set_aside: Reason -> number of rows that were left out.
        notes: Sentences for the run's header (template, truncation, merged boundaries).
        sample: A decoded row with its mask, for a person to check.
    """

    dataset: Any
    set_aside: Mapping[str, int]
    notes: Sequence[str]
    sample: str


class Adapter(Protocol):
    """The only code that knows a modality.

    Attributes:
        deterministic: Whether scoring the same item twice gives the same number, so that
            reference scores may be cached.
        unit: What a score is: `"nats"`, `"reward"`, or a surrogate and its scale.
        elements: Names of what `score` can give per token, step or draw.
        has_vector: Whether `score` can give a vector of each item.
    """

    @property
    def deterministic(self) -> bool:
        """See above."""
        ...

    @property
    def unit(self) -> str:
        """See above."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """See above."""
        ...

    @property
    def has_vector(self) -> bool:
        """See above."""
        ...

    def prepare(self, view: Any) -> Prepared:
        """Encode a view once, before training; set rows aside with a reason, never silently."""
        ...

    def split(
        self, rows: Sequence[Mapping[str, Any]], budget: int | None
    ) -> Sequence[Sequence[Mapping[str, Any]]]:
        """Cut encoded rows into parts that are computed one after the other.

        A part has at most `budget` of what the adapter counts (tokens, say), or holds one row.
        """
        ...

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Lay B encoded rows out as one batch."""
        ...

    def draw(self, batch: Batch, model: nn.Module) -> Draw | None:
        """Return what policy and reference must share, from one seed per row; None if nothing."""
        ...

    def score(
        self,
        model: nn.Module,
        batch: Batch,
        draw: Draw | None,
        needs: Needs,
        against: Mapping[str, Tensor] | None = None,
    ) -> ItemScores:
        """Score the N items of a batch; runs inside the model's (wrapped) forward."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON fields that change a score: they enter the key of cached references."""
        ...


@dataclass(frozen=True, slots=True)
class Rewards:
    """Rewards of K responses to each of R prompts.

    Attributes:
        value: [R, K] or [R, K, D]; NaN where a response could not be scored.
        scale: `"absolute"`: comparable everywhere; `"prompt"`: only within a prompt;
            `"pool"`: only within the responses scored together.
        std: Standard deviation of each value, or None.
        names: Names of the D aspects.
    """

    value: Tensor
    scale: str = "absolute"
    std: Tensor | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scale not in ("absolute", "prompt", "pool"):
            raise ValueError(f"`scale` must be absolute, prompt or pool, got {self.scale!r}.")


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Responses that a policy gave.

    Attributes:
        records: R records, each a prompt with its n responses as candidates.
        log_probs: [R, n] log-probability of each under what it was drawn from, its end included,
            nats.
        finished: [R, n] False where a response was cut at the most tokens.
        iid: Whether responses are independent draws, so that ratios of probabilities correct for
            another policy; False for beams and selections.
    """

    records: Any
    log_probs: Tensor
    finished: Tensor
    iid: bool


class Comparison(Protocol):
    """Says of every two candidates of a record which is better."""

    def __call__(self, records: Any) -> Tensor:
        """Return [R, K, K] the probability that candidate i is better than j.

        P + P^T = 1, with 1/2 on the diagonal; it need not be transitive. NaN where two could not
        be compared, or a record has fewer than K.
        """
        ...


class Reward(Protocol):
    """Scores every candidate of every record."""

    def __call__(self, records: Any, step: int = 0) -> Rewards:
        """Return one reward per candidate; the step lets a reward change while training runs."""
        ...


def as_float(values: Sequence[float]) -> Tensor:
    """Return a float64 tensor; sums of weights are exact enough to compare across layouts."""
    return torch.tensor(values, dtype=torch.float64)
