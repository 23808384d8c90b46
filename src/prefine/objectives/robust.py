"""Robustness to wrong labels: the label as a hidden variable, the rater's reliability estimated."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives.declare import Loss, Spec, name_of, spec
from prefine.objectives.links import expected
from prefine.objectives.options import Range, check_options
from prefine.objectives.pairwise import dpo
from prefine.objectives.transforms import refuse_stateful
from prefine.scores import Needs, Scores

MOST_RELIABLE = 1 - 1e-3
"""Upper end of an estimated reliability: at 1 a rater could never be found wrong again."""

Reliability = Annotated[float, Range(at_least=0.5, at_most=1)]


class robust_em:
    r"""Any pair loss on labels of unknown quality, by expectation maximisation over raters.

    With :math:`L_+` the loss of the label as given, :math:`L_-` that of the label flipped, and
    :math:`\eta_k` the reliability of rater k,

    .. math:: \ell = w L_+ + (1-w) L_-, \quad
              w = \sigma\big(L_- - L_+ + \log\tfrac{\eta_k}{1-\eta_k}\big)

    w is the posterior probability that the label is right, without gradient. After each optimizer
    step :math:`\eta_k \leftarrow (1-a)\,\eta_k + a\,\mathrm{mean}(w)` over the rater's rows of that
    step, within [0.5, 0.999]; a rater without rows keeps its value. For logistic losses this is
    exact; for others, such as `ipo`, the two-sided form is a surrogate.

    A policy that fits every label believes every label. Two options guard against that: a warm-up
    with fixed reliabilities, and a stop while the policy agrees with nearly all labels.

    Args:
        loss: A row-wise loss on pairs, with its options bound. Its soft label is replaced by w.
        num_raters: Number of raters; the column `rater` holds 0 ... num_raters - 1, and -1 where
            unknown. All unknown raters share one further reliability.
        eta: Reliability at the start. 1 believes every label of that rater in the first step.
        step: Step a of the moving average, 0 to 1; 0 keeps the reliabilities as they are.
        warmup_steps: Optimizer steps before the first update; one epoch is a good choice.
        freeze_above: No update while the moving average of the policy's agreement with the labels
            is above this share; 1 never stops.

    Raises:
        ConfigError: If an option is out of range.
        ObjectiveError: If `loss` does not take pairs, or is stateful or coupled.

    Curves:
        Starts at 0.693 with `dpo` inside, as that does. Then the posterior moves from `eta` towards
        0 or 1, and rows with a wrong label turn around late.

    Pitfalls:
        A policy that can fit every label believes every label: the posterior and eta go to
        1 and nothing is robust. `warmup_steps` and `freeze_above` guard against it. Raters
        with few rows keep the first guess.

    Source:
        RE-PO (first named LCPO), arXiv:2509.24159: E-step, M-step, reliabilities by moving average.

    Example:
        >>> from prefine.objectives import dpo
        >>> loss = robust_em(dpo, num_raters=2, eta=0.9)
        >>> pair = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2),
        ...               columns={"rater": torch.tensor([0])})
        >>> loss.posterior(pair)  # the policy has no view yet: the label is as good as its rater
        tensor([0.9000])
    """

    when: Literal["after"] = "after"

    def __init__(
        self,
        loss: Loss = dpo,
        *,
        num_raters: Annotated[int, Range(at_least=0)] = 1,
        eta: Reliability = 0.9,
        step: Annotated[float, Range(at_least=0, at_most=1)] = 0.1,
        warmup_steps: Annotated[int, Range(at_least=0)] = 0,
        freeze_above: Reliability = 0.98,
    ) -> None:
        given = {"num_raters": num_raters, "eta": eta, "step": step}
        given |= {"warmup_steps": warmup_steps, "freeze_above": freeze_above}
        check_options(robust_em, given)
        _check_loss(loss)
        self.loss, self.num_raters, self.step = loss, num_raters, step
        self.warmup_steps, self.freeze_above = warmup_steps, freeze_above
        self.eta = torch.full((num_raters + 1,), float(eta), dtype=torch.float64)
        self.agreement, self.updates = 0.5, 0
        self.spec: Spec = _declare(spec(loss), given)

    def __call__(self, scores: Scores) -> Tensor:
        """Return [B] the expected loss per pair; for an unknown rater number it is NaN."""
        kept, flipped = self._sides(scores)
        return expected(kept, flipped, self._posterior(scores, kept, flipped))

    def posterior(self, scores: Scores) -> Tensor:
        """Return [B] the probability that each label is right, given policy and rater."""
        with torch.no_grad():
            return self._posterior(scores, *self._sides(scores))

    def observe(self, scores: Scores) -> dict[str, Tensor]:
        """Return sums per rater, the last for all unknown ones, of rows that have weight.

        Raises:
            ObjectiveError: If a rater's number is not below `num_raters`.
        """
        rater = scores.columns["rater"]
        if int(rater.max()) >= self.num_raters:
            raise ObjectiveError(
                f"robust_em: the data has a rater numbered {int(rater.max())}, but `num_raters` is "
                f"{self.num_raters}, so there is no reliability to update. Set `num_raters` to the "
                "number of raters in the data."
            )
        with torch.no_grad():
            kept, flipped = self._sides(scores)
            posterior = self._posterior(scores, kept, flipped)
            agrees = ((flipped > kept).to(kept.dtype) + (flipped >= kept).to(kept.dtype)) / 2
        weight = torch.ones_like(kept) if scores.weight is None else scores.weight
        present = (weight > 0).to(kept.dtype)
        zeros, at = kept.new_zeros(self.num_raters + 1), self._position(rater)

        def per_rater(values: Tensor) -> Tensor:
            return zeros.index_add(0, at, torch.where(weight > 0, values, 0.0))

        return {
            "posterior": per_rater(posterior),
            "agreement": per_rater(agrees),
            "count": per_rater(present),
        }

    def update(self, sums: dict[str, Tensor]) -> None:
        """Move the reliabilities of the raters seen in this step, unless warming up or frozen."""
        posterior, agreement, count = (
            sums[name].detach().to("cpu", torch.float64)
            for name in ("posterior", "agreement", "count")
        )
        self.updates += 1
        if count.sum() > 0:
            share = float(agreement.sum() / count.sum())
            self.agreement += self.step * (share - self.agreement)
        if self.updates <= self.warmup_steps or self.agreement > self.freeze_above or not self.step:
            return
        moved = self.eta + self.step * (posterior / count.clamp(min=1) - self.eta)
        self.eta = torch.where(count > 0, moved.clamp(0.5, MOST_RELIABLE), self.eta)

    def state_dict(self) -> dict[str, Any]:
        """Return the reliabilities, the moving agreement and the number of updates."""
        return {
            "eta": [float(value) for value in self.eta],
            "agreement": self.agreement,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state.

        Raises:
            ConfigError: If the state is of another number of raters.
        """
        if len(state["eta"]) != self.num_raters + 1:
            raise ConfigError(
                f"robust_em: the saved state holds {len(state['eta']) - 1} raters, but "
                f"`num_raters` is {self.num_raters}. Resume with the same data and options."
            )
        self.eta = torch.tensor(state["eta"], dtype=torch.float64)
        self.agreement, self.updates = float(state["agreement"]), int(state["updates"])

    def _sides(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """Return [B] the loss of the label as given, and flipped."""
        hard = replace(scores, prob=None)
        swap = torch.tensor([[1, 0]], device=scores.policy.device).expand(len(scores.policy), -1)
        return self.loss(hard), self.loss(hard.take(swap))

    def _posterior(self, scores: Scores, kept: Tensor, flipped: Tensor) -> Tensor:
        # One place beyond the last rater holds NaN: a number out of range must not pass unseen.
        table = torch.cat([self.eta, self.eta.new_tensor([math.nan])]).to(kept)
        prior = torch.logit(table)[self._position(scores.columns["rater"])]
        return torch.sigmoid((flipped - kept).detach() + prior)

    def _position(self, rater: Tensor) -> Tensor:
        """Return positions into the table: unknown raters last, numbers out of range beyond it."""
        last = self.num_raters
        return torch.where(rater < 0, last, torch.where(rater < last, rater, last + 1))


def _declare(inner: Spec, options: Mapping[str, float]) -> Spec:
    needs = replace(
        inner.needs | Needs(columns=frozenset({"rater"})), fields=inner.needs.fields - {"prob"}
    )
    formula = (
        "v L+ + (1 - v) L-, v = sigma(L- - L+ + logit eta) without gradient, "
        f"L+ = [{inner.formula}] with p = 1, L- with p = 0, eta of each of {options['num_raters']} "
        f"raters from {options['eta']:g} in steps of {options['step']:g} after "
        f"{options['warmup_steps']} steps of warm-up, held while agreement is above "
        f"{options['freeze_above']:g}"
    )
    return replace(inner, needs=needs, formula=formula)


def _check_loss(loss: Loss) -> None:
    refuse_stateful(loss, "robust_em")
    inner = spec(loss)
    if inner.data != "pair" or inner.coupled:
        kind = "couples its rows" if inner.coupled else f"takes a {inner.data}"
        raise ObjectiveError(
            f"robust_em needs a loss of single pairs, whose label can be flipped, but "
            f"{name_of(loss)} {kind}. Use dpo, ipo, simpo or bradley_terry."
        )
