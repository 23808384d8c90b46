"""Scores: the one type between models and mathematics.

An adapter scores a flat list of N items, each combination once. An index [B, K] gathers them into
`Scores`, which an objective turns into one loss per row. Shapes: B rows (prompts), K responses,
N items, L elements (tokens, steps), D features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from prefine.errors import ObjectiveError

PER_RESPONSE = ("policy", "length", "reference", "valid", "utility", "label", "vector")
"""Fields of `Scores` whose first two axes are [B, K]."""

PER_ROW = ("prob", "tie", "margin", "weight")
"""Fields of `Scores` of shape [B]."""


@dataclass(frozen=True, slots=True)
class ItemScores:
    """What an adapter returns: one score for each of N items.

    Attributes:
        value: [N] log-probability in nats, its surrogate, or a reward (the adapter's `unit`).
        length: [N] scored units: tokens, denoising steps, actions.
        vector: [N, D] heads, attributes or an embedding, or None.
        elements: Per token, step or position, each [N, L, ...]; `mask` whenever not empty.
    """

    value: Tensor
    length: Tensor
    vector: Tensor | None = None
    elements: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of K responses to each of B prompts, best response first where an order is known.

    Attributes:
        policy: [B, K] log-probability of each response, nats (or its surrogate, or a reward).
        length: [B, K] scored units.
        reference: [B, K] the same under the frozen reference, or None.
        valid: [B, K] False where a list is shorter than K, or None if every list is full.
        utility: [B, K] graded feedback, NaN where unknown.
        label: [B, K] True where a response is desirable (points).
        prob: [B] soft label of a pair: probability that response 0 beats response 1.
        tie: [B] True where the two were judged equal; a tie is not `prob = 0.5`.
        margin: [B] strength of a preference, in units of reward.
        weight: [B] importance of a row, known before the forward pass.
        vector: [B, K, D] heads, attributes or an embedding.
        others: Further models by name, each [B, K] (slow twin, target, behaviour policy).
        elements: Per token, step or position, each [B, K, L, ...], always with `mask`.
        columns: From the data by name, each [B, ...]; categories are integers already.

    Example:
        >>> s = Scores(torch.tensor([[-1.0, -3.0]]), torch.tensor([[4.0, 4.0]]),
        ...            reference=torch.tensor([[-2.0, -2.0]]))
        >>> s.log_ratio
        tensor([[ 1., -1.]])
        >>> s.take(torch.tensor([[1, 0]])).policy
        tensor([[-3., -1.]])
    """

    policy: Tensor
    length: Tensor
    reference: Tensor | None = None
    valid: Tensor | None = None
    utility: Tensor | None = None
    label: Tensor | None = None
    prob: Tensor | None = None
    tie: Tensor | None = None
    margin: Tensor | None = None
    weight: Tensor | None = None
    vector: Tensor | None = None
    others: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    elements: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    columns: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def log_ratio(self) -> Tensor:
        """[B, K] log pi(y|x) - log pi_ref(y|x), nats.

        Raises:
            ObjectiveError: If there are no reference scores.
        """
        if self.reference is None:
            raise ObjectiveError(
                "This objective needs reference scores, but none were given. Name a reference "
                "(`--reference`), or choose an objective that needs none, such as simpo."
            )
        return self.policy - self.reference

    def take(self, at: Tensor) -> "Scores":
        """Reorder or select responses: every field with a K axis moves together.

        Args:
            at: [B, K'] positions into the K axis; -1 stands for an absent response.

        Returns:
            Scores with K' responses; `valid` is set where any position is absent.
        """
        present, safe = at >= 0, at.clamp(min=0)
        rows = torch.arange(len(at), device=at.device)[:, None]

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows, safe]

        moved: dict[str, Any] = {name: move(getattr(self, name)) for name in PER_RESPONSE}
        valid = present if moved["valid"] is None else moved["valid"] & present
        moved["valid"] = None if bool(valid.all()) else valid
        return replace(
            self,
            **moved,
            others={name: tensor[rows, safe] for name, tensor in self.others.items()},
            elements={name: tensor[rows, safe] for name, tensor in self.elements.items()},
        )

    def rows(self, at: Tensor) -> "Scores":
        """Select rows: every field moves along its first axis.

        Args:
            at: [B'] positions or [B] booleans.

        Returns:
            Scores with B' rows.
        """

        def move(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, Mapping):
                return {name: tensor[at] for name, tensor in value.items()}  # pyright: ignore[reportUnknownVariableType]
            return value[at]

        return Scores(**{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def map_responses(self, combine: Callable[[Tensor], Tensor]) -> "Scores":
        """Apply one linear map over the K axis to every model's score.

        Policy, reference, other models and lengths go through the same map, so they cannot
        disagree. Feedback per response (`utility`, `label`), `valid`, `vector` and `elements`
        have no meaning after it and are dropped.

        Args:
            combine: Linear function [B, K] -> [B, K'].

        Returns:
            Scores with K' combined responses.
        """
        return replace(
            self,
            policy=combine(self.policy),
            length=combine(self.length),
            reference=None if self.reference is None else combine(self.reference),
            others={name: combine(tensor) for name, tensor in self.others.items()},
            valid=None,
            utility=None,
            label=None,
            vector=None,
            elements={},
        )


def gather(
    index: Tensor,
    policy: ItemScores,
    reference: ItemScores | None = None,
    others: Mapping[str, ItemScores] | None = None,
    *,
    whole: bool | None = None,
    **rows: Any,
) -> Scores:
    """Gather flat item scores into rows.

    Args:
        index: [B, K] positions into the N items; -1 where a response is absent.
        policy: Scores of the N items under the policy.
        reference: The same under the reference, or None.
        others: Further models by name.
        whole: Whether no response is absent, where that is known; the index is read otherwise,
            for which a device must be waited for.
        **rows: The remaining fields of `Scores` (`weight`, `prob`, `columns`, ...).

    Returns:
        Scores; absent responses hold 0 and are marked in `valid`.

    Example:
        >>> items = ItemScores(torch.tensor([-1.0, -2.0, -5.0]), torch.tensor([3.0, 4.0, 5.0]))
        >>> gather(torch.tensor([[0, 2], [1, -1]]), items).valid
        tensor([[ True,  True],
                [ True, False]])
    """
    others = others or {}
    valid, at = index >= 0, index.clamp(min=0)
    whole = bool(valid.all()) if whole is None else whole

    def fill(tensor: Tensor) -> Tensor:
        return torch.where(valid, tensor[at], torch.zeros((), dtype=tensor.dtype, device=at.device))

    elements = {name: tensor[at] for name, tensor in policy.elements.items()}
    named = ([("reference", reference)] if reference is not None else []) + list(others.items())
    for prefix, scores in named:
        for name, tensor in scores.elements.items():
            if name != "mask":
                elements[f"{prefix}_{name}"] = tensor[at]
    if "mask" in elements:
        shape = valid.shape + (1,) * (elements["mask"].ndim - 2)
        elements["mask"] = elements["mask"] * valid.view(shape)
    return Scores(
        policy=fill(policy.value),
        length=fill(policy.length),
        reference=None if reference is None else fill(reference.value),
        valid=None if whole else valid,
        vector=None if policy.vector is None else policy.vector[at],
        others={name: fill(scores.value) for name, scores in others.items()},
        elements=elements,
        **rows,
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What an objective consumes; the trainer computes nothing else.

    Attributes:
        reference: Scores under the frozen reference.
        others: Further models by name.
        elements: Per-element outputs by name, e.g. `"log_prob"`; `"reference_log_prob"` is the
            same under the reference, `"kl_reference"` a comparison of both.
        vector: The adapter's vector output.
        fields: Optional fields of `Scores` that are read, e.g. `"prob"`, `"margin"`. A column
            that holds information no field consumes is an error, not a silence.
        required: Those of `fields` that must be present.
        columns: Named columns of the data beyond the standard fields.
        roles: Items that the view must supply, e.g. `"mismatched"`.

    Example:
        >>> both = Needs(reference=True) | Needs(fields=frozenset({"prob"}))
        >>> both.reference, sorted(both.fields)
        (True, ['prob'])
    """

    reference: bool = False
    others: frozenset[str] = frozenset()
    elements: frozenset[str] = frozenset()
    vector: bool = False
    fields: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            **{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)}
        )

    @property
    def of_reference(self) -> "Needs":
        """What the reference must supply for this.

        Example:
            >>> needs = Needs(elements=frozenset({"log_prob", "reference_log_prob"}))
            >>> sorted(needs.of_reference.elements)
            ['log_prob']
        """
        prefix = "reference_"
        elements = {name.removeprefix(prefix) for name in self.elements if name.startswith(prefix)}
        if "kl_reference" in self.elements:
            elements.add("log_softmax")
        return Needs(elements=frozenset(elements))


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum of objectives, over the items that play the named roles.

    A row that lacks one of the roles has weight 0 in this term and leaves its denominator.

    Attributes:
        name: Shown in logs, e.g. `"image"`.
        objective: Any objective.
        roles: Which items of a row it takes, in order.
        coefficient: Factor of this term in the total.
    """

    name: str
    objective: Callable[[Scores], Tensor]
    roles: tuple[str, ...]
    coefficient: float = 1.0


def index_of(rows: Sequence[Mapping[str, int]], roles: Sequence[str]) -> Tensor:
    """Return [B, len(roles)] item positions by role, -1 where a row lacks the role.

    Example:
        >>> index_of([{"chosen": 0, "rejected": 1}, {"chosen": 2}], ("chosen", "rejected"))
        tensor([[ 0,  1],
                [ 2, -1]])
    """
    return torch.tensor(
        [[row.get(role, -1) for role in roles] for row in rows], dtype=torch.long
    ).reshape(len(rows), len(roles))
