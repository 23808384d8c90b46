"""Losses read as statements about which responses are valid, and built from such statements.

An event has the probability that a model gives it: `w` and `l` say that the policy deems the better
or the worse response valid, `ref_w` and `ref_l` say so of the reference. A formula joins events by
`and`, `or`, `not`, `==` and `!=`. Three formulas make a preference structure: what is preferred,
under which condition, and what counts on both sides. `MEANINGS` has those of losses with a name.

`from_events("w or not l", "w or l", "w and l", beta=0.1)` is `cpo` without its likelihood term, and
`structure("w and not l").entails(structure("w or not l"))` says that one loss asks for more.
"""

import ast
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Loss, objective
from prefine.objectives.links import log1mexp, logistic, per_unit
from prefine.objectives.options import Strength
from prefine.scores import Needs, Scores

EVENTS = ("w", "l", "ref_w", "ref_l")
CERTAIN = -1e-6
"""A log-probability nearer to 0 counts as this: the odds of what is certain are infinite."""


@dataclass(frozen=True, slots=True)
class Structure:
    """Which assignments of truth to events count for a preference, and which against it.

    Attributes:
        events: Names of the events, of `EVENTS` and in their order.
        wins: Rows of the truth table, in the order of `assignments`, that count for it.
        loses: Rows that count against it; a row may do both.
    """

    events: tuple[str, ...]
    wins: frozenset[int]
    loses: frozenset[int]

    def entails(self, other: "Structure") -> bool:
        """Return whether this asks for at least as much as the other.

        All that counts for this counts for the other, and all that counts against the other counts
        against this. So its odds are nowhere above the other's, and its loss is nowhere below.

        Raises:
            ObjectiveError: If the two are about different events.

        Example:
            >>> one, both = structure("w", events=("l",)), structure("w and not l")
            >>> both.entails(one), one.entails(both)
            (True, False)
        """
        if self.events != other.events:
            raise ObjectiveError(
                f"Structures over {', '.join(self.events)} and over {', '.join(other.events)} "
                "cannot be compared: give both the same `events`."
            )
        return self.wins <= other.wins and other.loses <= self.loses

    def odds(self, log_prob: Tensor) -> Tensor:
        """Return [B] log-odds of the preference from [B, E] log-probabilities of its events.

        Each side is a weighted count of models: the sum, over its rows of the truth table, of the
        probability of the row, as if events were independent.
        """
        true = log_prob.clamp(max=CERTAIN)
        table = torch.tensor(assignments(len(self.events)), device=log_prob.device)
        row = torch.where(table, true[:, None, :], log1mexp(true)[:, None, :]).sum(-1)
        sides = [row[:, sorted(side)].logsumexp(-1) for side in (self.wins, self.loses)]
        return sides[0] - sides[1]


def assignments(count: int) -> list[tuple[bool, ...]]:
    """Return the rows of a truth table; the first event changes slowest.

    Example:
        >>> assignments(1)
        [(False,), (True,)]
    """
    return list(itertools.product((False, True), repeat=count))


def structure(
    preferred: str, given: str = "True", added: str = "False", *, events: Sequence[str] = ()
) -> Structure:
    """Return the structure of three formulas.

    For it count the rows with (`preferred` and `given`) or `added`, against it those with (not
    `preferred` and `given`) or `added`.

    Args:
        preferred: What is preferred.
        given: The condition under which it is looked at.
        added: What counts on both sides and so draws the odds to even.
        events: Further events, where it is to be compared with a structure that has them.

    Raises:
        ObjectiveError: If a formula cannot be read, an event is unknown, or nothing can win, or
            nothing can lose.

    Example:
        >>> sorted(structure("w or not l").loses)  # of (l, w): only the worse one is valid
        [1]
    """
    formulas = [_parsed(text) for text in (preferred, given, added)]
    named = set(events).union(*(_names(formula) for formula in formulas))
    if unknown := sorted(named - set(EVENTS)):
        raise ObjectiveError(
            f"No event is called {', '.join(unknown)}: formulas are about {', '.join(EVENTS)}."
        )
    known = tuple(name for name in EVENTS if name in named)
    wins: set[int] = set()
    loses: set[int] = set()
    for row, truth in enumerate(assignments(len(known))):
        value = dict(zip(known, truth, strict=True))
        holds, seen, both = (_holds(formula, value) for formula in formulas)
        if both or (holds and seen):
            wins.add(row)
        if both or (not holds and seen):
            loses.add(row)
    if not wins or not loses:
        raise ObjectiveError(
            f"Nothing can {'lose' if wins else 'win'}: these formulas leave one side without a row "
            "of the truth table, so there are no odds to raise."
        )
    return Structure(known, frozenset(wins), frozenset(loses))


def from_events(
    preferred: str,
    given: str = "True",
    added: str = "False",
    *,
    beta: Strength = 1.0,
    mean: bool = False,
    reference: tuple[float, float] | None = None,
) -> Loss:
    r"""Return the pair loss that raises the odds of a preference structure.

    .. math:: \ell = -\log\sigma(\beta\rho), \quad \rho = \log
        \frac{W[(P \wedge C) \vee A]}{W[(\neg P \wedge C) \vee A]}

    W sums the probabilities of the rows of a truth table; with beta = 1 the loss is minus the
    log-probability of the preference. It is computed from log-probabilities, so responses of
    hundreds of nats do no harm. But where probabilities are next to 0, as those of whole responses
    are, 1 - p is 1 and many structures come to the same: `mean` keeps them apart.

    Args:
        preferred: P.
        given: C.
        added: A.
        beta: Factor of the log-odds.
        mean: Whether the probability of a response is that of its mean token.
        reference: Log-probabilities of `ref_w` and `ref_l` set by hand, or None for the scores'.

    Returns:
        An objective on pairs that declares what it reads.

    Raises:
        ObjectiveError: As `structure`.

    Source:
        Richardson, Srikumar and Sabharwal 2024, arXiv:2412.17696, sections 3 to 5.

    Example:
        >>> even = torch.tensor([[0.5, 0.5]]).log()
        >>> from_events("w or not l", "w != l")(Scores(even, torch.ones(1, 2)))
        tensor([0.6931])
    """
    made = structure(preferred, given, added)
    by_model = reference is None and any(event in made.events for event in EVENTS[2:])
    probability = "e^(l / n)" if mean else "e^l"

    @objective(
        "pair",
        needs=Needs(reference=by_model),
        formula=f"-log sigma({{beta}} R), R = log-odds of ({preferred}) given ({given}), with "
        f"({added}) on both sides, probabilities {probability}",
        name="from_events",
    )
    def built(scores: Scores, *, beta: Strength = beta) -> Tensor:
        models = [scores.policy, scores.policy - scores.log_ratio] if by_model else [scores.policy]
        parts = [per_unit(scores, values) if mean else values for values in models]
        if not by_model:
            by_hand = scores.policy.new_tensor(reference or (CERTAIN, CERTAIN))
            parts.append(by_hand.expand_as(scores.policy))
        at = [EVENTS.index(event) for event in made.events]
        return logistic(beta * made.odds(torch.cat(parts, 1)[:, at]))

    return built


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a loss that goes by a name says of the responses.

    Attributes:
        says: In words.
        preferred: What is preferred.
        given: The condition under which it is looked at.
        added: What counts on both sides.
    """

    says: str
    preferred: str
    given: str = "True"
    added: str = "False"

    @property
    def formulas(self) -> tuple[str, str, str]:
        """The three, in the order in which `structure` and `from_events` take them."""
        return self.preferred, self.given, self.added


AGAINST_REFERENCE = (
    "(w and ref_l) or not (l and ref_w)",
    "(w and ref_l) or (l and ref_w)",
    "w and l and ref_w and ref_l",
)
IMPLIED = "w or not l"

MEANINGS = {
    "ce": Meaning("The better one is valid.", "w"),
    "ce_unlikelihood": Meaning("The better one is valid and the worse is not.", "w and not l"),
    "cpo": Meaning(
        "If the worse one is valid, so is the better, seen where either is; both being valid "
        "counts on both sides.",
        IMPLIED, "w or l", "w and l",
    ),
    "dpo": Meaning(
        "If the worse one is valid and the better was, then the better is and the worse was.",
        *AGAINST_REFERENCE,
    ),
    "orpo": Meaning(
        "If the worse one is valid, so is the better, seen where one alone is.", IMPLIED, "w != l"
    ),
    "simpo": Meaning("As `dpo`, of mean tokens, the reference set by hand.", *AGAINST_REFERENCE),
    "unconstrained_cpo": Meaning("If the worse one is valid, so is the better.", IMPLIED),
}  # fmt: skip
"""Named pair losses as structures; `ipo` and `hinge` are `dpo` with another link."""


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ObjectiveError(f"The formula {text!r} cannot be read: {error.msg}.") from error


def _names(formula: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(formula) if isinstance(node, ast.Name)}


def _holds(formula: ast.expr, value: Mapping[str, bool]) -> bool:
    """Return whether a formula holds, given which events do."""
    match formula:
        case ast.Name(id=name):
            return value[name]
        case ast.Constant(value=bool() as constant):
            return constant
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _holds(inner, value)
        case ast.BoolOp(op=op, values=parts):
            join = all if isinstance(op, ast.And) else any
            return join([_holds(part, value) for part in parts])
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[right]):
            same = _holds(left, value) == _holds(right, value)
            return same == isinstance(op, ast.Eq)
        case _:
            raise ObjectiveError(
                f"`{ast.unparse(formula)}` is no formula: join events by and, or, not, == and !=."
            )
