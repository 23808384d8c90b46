"""A term by which two policies that learn at different speeds pull on each other."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Loss, Options, Spec, name_of, spec
from prefine.objectives.links import gap, logistic
from prefine.objectives.options import Range, check_options
from prefine.objectives.transforms import declared, refuse_stateful
from prefine.scores import Needs, Scores

TWIN = "twin"
"""Name of the other policy among `Scores.others`."""

Role = Literal["fast", "slow"]


def chasing(
    loss: Loss,
    *,
    role: Role,
    alpha: Annotated[float, Range(at_least=0, below=1)] = 0.3,
    beta: Annotated[float, Range(above=0)] = 0.1,
    limit: Annotated[float, Range(above=0)] = 10.0,
) -> Loss:
    r"""Return a pair loss with the term by which a fast and a slow policy chase each other.

    With :math:`m_F, m_S` the log-probability margins of the two,
    :math:`u = \beta (m_F - m_S)` clipped to :math:`\pm` `limit`, in which a shared reference
    cancels, and :math:`C = -\log\sigma(u)`:

    .. math:: \ell_F = \ell + \alpha\,C, \qquad \ell_S = \ell - \alpha\,C

    The other policy's margin carries no gradient, or the two terms would cancel. The fast one is
    asked to lead and the slow one to catch up, so both are pulled the same way.
    `prefine train ofs_dpo` (a `chase` block) and `prefine.recipes.chase` train the two.

    Args:
        loss: An objective on pairs, with its options bound.
        role: Which of the two the policy plays.
        alpha: Share of the term, below 1: the slow one's is taken away.
        beta: Strength of the margin's difference.
        limit: Largest difference that still has a gradient; bounds what is taken away.

    Returns:
        [B] loss, nats; it reads the other policy's scores [B, 2] as `others["twin"]`.

    Raises:
        ObjectiveError: If `loss` does not take pairs or is stateful; when called, if there are no
            scores of the twin.
        ConfigError: If an option is out of range.

    Source:
        Qi et al. 2024, arXiv:2406.05534 (OFS-DPO), equations as a third-party implementation cites
        them. `alpha` and `limit` are choices of this library.

    Example:
        >>> import torch
        >>> from prefine.objectives import dpo
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]),
        ...               others={"twin": torch.tensor([[-2.0, -2.0]])})
        >>> dpo(pair), chasing(dpo, role="fast", alpha=0.5)(pair)  # 0.5981 (1 + 0.5)
        (tensor([0.5981]), tensor([0.8972]))
    """
    check_options(chasing, {"role": role, "alpha": alpha, "beta": beta, "limit": limit})
    refuse_stateful(loss, "chasing")
    if spec(loss).data != "pair":
        raise ObjectiveError(
            f"chasing takes a pair loss, but {name_of(loss)} is a {spec(loss).data} loss: two "
            "policies are compared by the margins that they give a pair."
        )
    sign = 1.0 if role == "fast" else -1.0

    def with_chase(scores: Scores, **options: Any) -> Tensor:
        if TWIN not in scores.others:
            raise ObjectiveError(
                f"chasing({name_of(loss)}) needs the scores of the other policy, `others['twin']`, "
                "without which nothing is chased. Train the two with a `chase` block of run.yaml, "
                "or with `prefine.recipes.chase`."
            )
        lead = gap(scores.policy) - gap(scores.others[TWIN].detach())
        logit = (sign * beta * lead).clamp(-limit, limit)
        return loss(scores, **options) + sign * alpha * logistic(logit)

    def declare(options: Options) -> Spec:
        inner = spec(loss, **options)
        term = "+" if role == "fast" else "-"
        formula = f"[{inner.formula}] {term} {alpha:g} [-log sigma({beta:g} (m_fast - m_slow))]"
        needs = inner.needs | Needs(others=frozenset({TWIN}))
        return replace(inner, needs=needs, formula=formula)

    return declared(with_chase, declare, f"chasing({name_of(loss)})")
