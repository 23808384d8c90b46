"""What an objective declares about itself, and the one function that reads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.options import check_options, options_of
from prefine.scores import Needs, Scores, Term

Data = Literal["pair", "list", "point"]
Per = Literal["row", "unit"]
Unit = Literal["reward"]
Options = Mapping[str, Any]
Loss = Callable[..., Tensor]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Spec:
    """What a loss consumes, and what it is.

    Attributes:
        data: The view it takes: `"pair"`, `"list"` or `"point"`.
        needs: Models, elements, fields, columns and roles it reads.
        per: `"row"` weighs rows equally; `"unit"` multiplies the weight by scored units, which
            makes the total a mean over tokens.
        coupled: True if the loss of a row depends on other rows of the batch.
        formula: The loss of a row in plain text, with the values of its options.
        unit: `"reward"` if it trains a model that gives rewards; None if it trains a policy, or
            takes whatever a model gives.
    """

    data: Data
    needs: Needs
    per: Per = "row"
    coupled: bool = False
    formula: str = ""
    unit: Unit | None = None


@runtime_checkable
class Stateful(Protocol):
    """An objective that carries a statistic from batch to batch.

    `observe` returns detached sums that add up over rows and ranks; `update` is called once per
    optimizer step with the all-reduced sums: `when="before"` the losses of the step are taken,
    or `"after"`. What is observed before may read columns alone, since no response has been scored
    yet. State never changes in evaluation. `state_dict` holds JSON values only.
    """

    when: Literal["before", "after"]

    def observe(self, scores: Scores) -> dict[str, Tensor]:
        """Return detached sums over the rows that have weight."""
        ...

    def update(self, sums: dict[str, Tensor]) -> None:
        """Change the state, from the sums of one optimizer step over all ranks."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        ...


def objective(
    data: Data,
    *,
    needs: Needs | Callable[[Options], Needs] | None = None,
    per: Per = "row",
    coupled: bool = False,
    formula: str | Callable[[Options], str] = "",
    unit: Unit | None = None,
    name: str = "",
) -> Callable[[F], F]:
    """Declare what a loss consumes, and guard its door.

    The decorated loss checks its options (see `prefine.objectives.options`), the number of
    responses, and that what it requires is there; scores narrower than float32 are widened.

    Args:
        data: The view it takes.
        needs: What it reads; a function of the options where they decide.
        per: `"row"`, or `"unit"` for a mean over tokens.
        coupled: True if the loss of a row depends on other rows of the batch.
        formula: The loss of a row in plain text, `{option}` standing for an option's value; a
            function of the options where they decide.
        unit: `"reward"` for a loss of reward models, which are then what is trained.
        name: What messages call it; the function's name by default.

    Example:
        >>> @objective("pair", formula="{scale} (l_l - l_w)")
        ... def negative_gap(scores, *, scale: float = 2.0):
        ...     return scale * (scores.policy[:, 1] - scores.policy[:, 0])
        >>> spec(negative_gap).data
        'pair'
        >>> spec(partial(negative_gap, scale=3.0)).formula
        '3 (l_l - l_w)'
    """

    def mark(loss: F) -> F:
        def reads(options: Options) -> Needs:
            return needs(options) if callable(needs) else needs or Needs()

        def declare(given: Options) -> Spec:
            options = _defaults(loss) | dict(given)
            template = formula(options) if callable(formula) else formula
            shown = _Shown((name, _shown(value)) for name, value in options.items())
            return Spec(data, reads(options), per, coupled, template.format_map(shown), unit)

        @wraps(loss)
        def guarded(scores: Scores, **options: Any) -> Tensor:
            check_options(loss, options)
            called = name or loss.__name__
            _check_count(called, data, scores.policy.shape[1])
            _check_present(called, reads(_defaults(loss) | options), scores)
            return loss(_widened(scores), **options)

        cast(Any, guarded).spec = declare
        return cast(F, guarded)

    return mark


def spec(loss: Any, **options: Any) -> Spec:
    """Return what a loss consumes; sees through `functools.partial`, terms and combinators.

    Args:
        loss: An objective, bound to options or not, or a `Term`.
        **options: Options that will be given when it is called.

    Raises:
        ObjectiveError: If `loss` was never declared.

    Example:
        >>> from prefine.objectives import bradley_terry
        >>> sorted(spec(partial(bradley_terry, margin="subtract")).needs.required)
        ['margin']
    """
    if isinstance(loss, Term):
        inner = spec(loss.objective)
        return replace(inner, needs=inner.needs | Needs(roles=frozenset(loss.roles)))
    while isinstance(loss, partial):
        bound = cast("partial[Any]", loss)
        options = {**bound.keywords, **options}
        loss = bound.func
    declared = getattr(loss, "spec", None)
    if callable(declared):
        declared = declared(options)
    if not isinstance(declared, Spec):
        raise ObjectiveError(
            f"{name_of(loss)} does not say what it consumes, so the trainer cannot feed it. "
            "Decorate it with @prefine.objectives.declare.objective(...)."
        )
    return declared


def unwrapped(loss: Any) -> Any:
    """Return the loss inside any `functools.partial`."""
    while isinstance(loss, partial):
        loss = cast("partial[Any]", loss).func
    return loss


def name_of(loss: Any) -> str:
    """Return the name of a loss, e.g. `"dpo"`."""
    inner = unwrapped(loss)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _defaults(loss: Callable[..., Any]) -> dict[str, Any]:
    return {o.name: o.default for o in options_of(loss).values() if not o.is_required}


class _Shown(dict[str, str]):
    """Values for a formula; an option that has no value yet stands for itself."""

    def __missing__(self, name: str) -> str:
        return name


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_count(name: str, data: Data, count: int) -> None:
    if data == "pair" and count != 2:
        raise ObjectiveError(
            f"{name} compares 2 responses, but a row holds {count}. "
            f"Make pairs of the records, use plackett_luce, or combine.over_pairs({name})."
        )
    if data == "point" and count != 1:
        raise ObjectiveError(
            f"{name} takes one response at a time, but a row holds {count}. "
            "Take the points of the records instead of their pairs or lists."
        )


def _check_present(name: str, needs: Needs, scores: Scores) -> None:
    absent = [field for field in sorted(needs.required) if getattr(scores, field) is None]
    absent += sorted(needs.columns - scores.columns.keys())
    if absent:
        raise ObjectiveError(
            f"{name} needs {', '.join(f'`{field}`' for field in absent)}, which the data does not "
            "have. Add the column, or choose an objective or option that does not read it."
        )


def _widened(scores: Scores) -> Scores:
    """Return the scores in float32 or wider: differences of sums do not survive half precision."""

    def wide(tensor: Tensor | None) -> Tensor | None:
        is_narrow = (
            tensor is not None
            and tensor.is_floating_point()
            and torch.finfo(tensor.dtype).bits < 32
        )
        return tensor.float() if is_narrow and tensor is not None else tensor

    names = ("policy", "length", "reference", "utility", "prob", "margin", "vector")
    wider = {name: wide(getattr(scores, name)) for name in names}
    for name in ("others", "elements"):
        wider[name] = cast(Any, {key: wide(part) for key, part in getattr(scores, name).items()})
    return replace(scores, **cast(Any, wider))
