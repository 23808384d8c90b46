"""Losses whose demanded margin depends on where a row stands among the others."""

import math
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from prefine.objectives.declare import Spec, objective, spec
from prefine.objectives.links import gap, logistic, per_unit
from prefine.objectives.options import NonNegative, Range, check_options
from prefine.scores import Needs, Scores


class alpha_dpo:
    r"""SimPO whose margin is larger for rows that the policy has separated already (alpha-DPO).

    With the mean log-probability per unit and the gap g of mean log-ratios, standardised by its
    moving mean and deviation to z,

    .. math:: \ell = -\log\sigma\big(\beta\,(\bar l_w - \bar l_l) - \beta\,(\gamma + \alpha z)\big),
        \quad g = \frac{h_w}{n_w} - \frac{h_l}{n_l}

    The margin carries no gradient. Mean and deviation are moving statistics of the steps before
    this one; in the first, where every gap is 0, z is 0. They are ratios of moving sums, so early
    steps are not drawn to 0 (started at 0, as in public code, early z are about ten times too
    large).

    Args:
        beta: Scale of the reward, per nat per unit.
        gamma_over_beta: Demanded margin gamma in nats per unit.
        alpha: How much the margin grows per standard deviation.
        decay: Of the moving statistics, per step.

    Raises:
        ConfigError: If an option is out of range.

    Curves:
        Starts where `simpo` would on the same data, since no statistic has been seen yet.
        Over the first steps the demanded margin settles; then `rewards/margins` rises and
        the loss falls.

    Pitfalls:
        A step of few rows moves the mean and spread that every later row is measured
        against: use large steps, or a `decay` near 1. A large `alpha` demands ever more of
        rows that are already separated and leaves the hard ones alone.

    Source:
        Wu et al. 2024, arXiv:2410.10148, eq. 10 and the authors' code.

    Example:
        >>> pairs = Scores(torch.tensor([[-1.0, -1.0], [-1.0, -3.0]]), torch.ones(2, 2),
        ...                reference=torch.tensor([[-1.0, -1.0], [-1.0, -1.0]]))
        >>> loss = alpha_dpo(beta=1.0, gamma_over_beta=0.0, alpha=0.5)
        >>> loss.update(loss.observe(pairs))  # gaps 0 and 2: mean 1, deviation 1, z = -1 and 1
        >>> loss(pairs)  # sigma(0 + 0.5), sigma(2 - 0.5)
        tensor([0.4741, 0.2014])
    """

    when: Literal["after"] = "after"

    def __init__(
        self,
        *,
        beta: Annotated[float, Range(above=0, usual=(2.0, 10.0))] = 10.0,
        gamma_over_beta: NonNegative = 0.4,
        alpha: Annotated[float, Range(at_least=0, usual=(0.01, 0.2))] = 0.1,
        decay: Annotated[float, Range(at_least=0, below=1, usual=(0.9, 0.99))] = 0.9,
    ) -> None:
        self.options = {"beta": beta, "gamma_over_beta": gamma_over_beta, "alpha": alpha}
        self.options["decay"] = decay
        check_options(alpha_dpo, self.options)
        self.decay = decay
        self.moments: dict[str, float] = dict.fromkeys(("sum", "squares", "count"), 0.0)
        self.spec: Spec = spec(_with_margin, **self.options)

    @property
    def centre(self) -> tuple[float, float]:
        """Moving mean and standard deviation of the gap, nats per unit; (0, 0) before any step."""
        count = self.moments["count"]
        if count == 0:
            return 0.0, 0.0
        mean = self.moments["sum"] / count
        return mean, math.sqrt(max(0.0, self.moments["squares"] / count - mean**2))

    def __call__(self, scores: Scores) -> Tensor:
        """Return [B] the loss per pair, nats."""
        mean, deviation = self.centre
        return _with_margin(scores, mean=mean, deviation=deviation, **self.options)

    def observe(self, scores: Scores) -> dict[str, Tensor]:
        """Return the sum, the sum of squares and the number of gaps of rows that have weight."""
        gaps = gap(per_unit(scores, scores.log_ratio)).detach().double()
        has_weight = torch.ones_like(gaps) if scores.weight is None else scores.weight > 0
        gaps = torch.where(has_weight > 0, gaps, 0.0)
        return {
            "sum": gaps.sum(),
            "squares": gaps.square().sum(),
            "count": has_weight.sum().double(),
        }

    def update(self, sums: dict[str, Tensor]) -> None:
        """Move the statistics, from the sums over all rows of a step."""
        for name in self.moments:
            self.moments[name] = self.decay * self.moments[name] + float(sums[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the moving sums."""
        return dict(self.moments)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the moving sums."""
        self.moments = {name: float(state[name]) for name in self.moments}


@objective(
    "pair",
    name="alpha_dpo",
    needs=Needs(reference=True),
    formula="-log sigma({beta} (l_w / n_w - l_l / n_l - {gamma_over_beta} - {alpha} Z)), "
    "Z = h_w / n_w - h_l / n_l, standardised over steps that fade by {decay}, without gradient",
)
def _with_margin(
    scores: Scores,
    *,
    beta: float,
    gamma_over_beta: float,
    alpha: float,
    decay: float,
    mean: float = 0.0,
    deviation: float = 0.0,
) -> Tensor:
    gaps = gap(per_unit(scores, scores.log_ratio)).detach()
    place = (gaps - mean) / deviation if deviation > 0 else torch.zeros_like(gaps)
    distance = gap(per_unit(scores, scores.policy))
    return logistic(beta * (distance - gamma_over_beta - alpha * place))
