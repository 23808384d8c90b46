"""Losses on single responses that were liked or disliked."""

from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Spec, objective, spec
from prefine.objectives.links import logistic
from prefine.objectives.options import NonNegative, Range, Strength, check_options
from prefine.scores import Needs, Scores

MISMATCHED = "mismatched_log_ratio"
"""Column [B]: log-ratio of the row's prompt with another row's response, NaN where it has none."""


class kto:
    r"""Prospect-theoretic loss on thumbs up and thumbs down.

    With :math:`h = \log\pi(y|x) - \log\pi_{ref}(y|x)` and a baseline :math:`z_0`,

    .. math:: \ell = \begin{cases}
        \lambda_D\,\sigma(\beta (z_0 - h)) & \text{desirable} \\
        \lambda_U\,\sigma(\beta (h - z_0)) & \text{undesirable}\end{cases}

    The baseline estimates the divergence of policy from reference: the mean log-ratio, no less than
    0, of mismatched pairs, each a prompt with another row's response. It is a statistic of the
    whole optimizer step, observed without gradient before the step's losses. Before the first step
    it is 0, the true divergence of a policy that starts as its reference.

    Args:
        beta: KL strength, reward per nat.
        desirable_weight: Weight lambda_D of desirable rows. Choose the two weights such that
            lambda_D n_D / (lambda_U n_U) lies in [1, 4/3], n being the number of rows of each kind.
        undesirable_weight: Weight lambda_U of undesirable rows.

    Raises:
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.5. `rewards/chosen` rises and `rewards/rejected` falls around the
        baseline z, which starts at 0 and stays small.

    Pitfalls:
        Where thumbs are unequal in number choose the weights so that desirable_weight n_D /
        (undesirable_weight n_U) is between 1 and 4/3. The baseline needs two different
        prompts in a step. Rows far from it have next to no gradient.

    Source:
        Ethayarajh et al. 2024, arXiv:2402.01306, section 4.1.

    Example:
        >>> loss = kto(beta=0.5)
        >>> point = Scores(torch.tensor([[-1.0]]), torch.ones(1, 1), label=torch.tensor([[True]]),
        ...                reference=torch.tensor([[-3.0]]),
        ...                columns={MISMATCHED: torch.tensor([2.0])})
        >>> loss(point)  # sigma(0.5 (0 - 2))
        tensor([0.2689])
        >>> loss.update(loss.observe(point))
        >>> loss(point)  # sigma(0.5 (2 - 2))
        tensor([0.5000])
    """

    when: Literal["before"] = "before"

    def __init__(
        self,
        *,
        beta: Strength = 0.1,
        desirable_weight: NonNegative = 1.0,
        undesirable_weight: NonNegative = 1.0,
    ) -> None:
        self.options = {
            "beta": beta,
            "desirable_weight": desirable_weight,
            "undesirable_weight": undesirable_weight,
        }
        check_options(kto, self.options)
        self.beta, self.baseline = beta, 0.0
        self.spec: Spec = spec(_prospect, **self.options)

    def __call__(self, scores: Scores) -> Tensor:
        """Return [B] the loss per row, between 0 and its weight, for points with labels."""
        return _prospect(scores, baseline=self.baseline, **self.options)

    def observe(self, scores: Scores) -> dict[str, Tensor]:
        """Return the sum and number of the mismatched log-ratios of rows that have weight."""
        ratio = scores.columns[MISMATCHED].detach()
        counts = ~ratio.isnan()
        if scores.weight is not None:
            counts = counts & (scores.weight > 0)
        return {"sum": torch.where(counts, ratio, 0.0).sum(), "count": counts.sum().to(ratio.dtype)}

    def update(self, sums: dict[str, Tensor]) -> None:
        """Set the baseline of this step from the sums over all its rows.

        Raises:
            ObjectiveError: If no row had a mismatched pair.
        """
        count = float(sums["count"])
        if count == 0:
            raise ObjectiveError(
                "kto: no row of this step has a mismatched pair, so there is no baseline to judge "
                "gains and losses against. Give the points their `mismatched` items: that takes at "
                "least two rows with different responses."
            )
        self.baseline = max(0.0, float(sums["sum"]) / count)

    def state_dict(self) -> dict[str, Any]:
        """Return the baseline, nats."""
        return {"baseline": self.baseline}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the baseline."""
        self.baseline = float(state["baseline"])


@objective(
    "point",
    name="kto",
    needs=Needs(
        reference=True,
        fields=frozenset({"label"}),
        required=frozenset({"label"}),
        roles=frozenset({"mismatched"}),
    ),
    formula="desirable: {desirable_weight} sigma({beta} (z - h)); "
    "undesirable: {undesirable_weight} sigma({beta} (h - z))",
)
def _prospect(
    scores: Scores,
    *,
    beta: Strength,
    desirable_weight: NonNegative,
    undesirable_weight: NonNegative,
    baseline: NonNegative = 0.0,
) -> Tensor:
    gain = beta * (scores.log_ratio - baseline)
    good, bad = desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    return torch.where(cast(Tensor, scores.label).bool(), good, bad)[:, 0]


LABEL = Needs(reference=True, fields=frozenset({"label"}), required=frozenset({"label"}))


@objective(
    "point",
    needs=LABEL,
    formula="desirable: 1 - sigma({beta} h); undesirable: sigma({beta} h)",
)
def apo_zero_unpaired(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""`apo_zero` on thumbs: liked responses become more likely, disliked ones less.

    .. math:: \ell = \begin{cases} 1 - \sigma(\beta h) & \text{desirable} \\
        \sigma(\beta h) & \text{undesirable}\end{cases}

    Args:
        scores: Points with labels and reference scores, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per response, between 0 and 1.

    Raises:
        ObjectiveError: If there are no labels or reference scores.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.5. `rewards/chosen` rises above 0 and `rewards/rejected` falls below.

    Pitfalls:
        Where one sort of thumb prevails, it pulls every response its way: balance the data,
        or weigh the rows. Rows far out on the sigmoid have next to no gradient.

    Source:
        D'Oosterlinck et al. 2024, arXiv:2408.06266, section 3.

    Example:
        >>> point = Scores(torch.tensor([[-1.0]]), torch.ones(1, 1), label=torch.tensor([[True]]),
        ...                reference=torch.tensor([[-3.0]]))
        >>> apo_zero_unpaired(point, beta=0.5)  # sigma(-1)
        tensor([0.2689])
    """
    gain = beta * scores.log_ratio
    return torch.where(cast(Tensor, scores.label).bool(), -gain, gain).sigmoid()[:, 0]


class bco:
    r"""Binary classifier on implicit rewards: thumbs up against thumbs down.

    With r = beta h and a moving threshold delta,

    .. math:: \ell = \begin{cases} -\log\sigma(r - \delta) & \text{desirable} \\
        -\log\sigma(\delta - r) & \text{undesirable}\end{cases}

    For any delta the sum over a pair bounds the loss of `dpo`, most tightly where delta is midway
    between both rewards. It is a moving statistic of the steps before this one, without gradient;
    in the first step, where every reward is 0, it is 0. Weights for disliked responses to other
    prompts than the liked ones (the density ratio of the paper) are weights of the rows.

    Args:
        beta: KL strength, reward per nat.
        decay: Of the moving statistic, per step.
        balanced: The threshold is the mean of the two classes' mean rewards, as the bound wants
            it; otherwise the mean over all rows, which moves towards the larger class.

    Raises:
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. The threshold follows the mean rewards, so `rewards/chosen` and
        `rewards/rejected` part while their middle may drift.

    Pitfalls:
        The threshold needs both sorts of thumbs: with one alone it follows that one and
        learns nothing more. In the first steps it is a guess from few rows.

    Source:
        Jung et al. 2024, arXiv:2404.04656, eq. 10 and 11.

    Example:
        >>> loss = bco(beta=0.5)
        >>> points = Scores(torch.tensor([[-1.0], [-3.0]]), torch.ones(2, 1),
        ...                 label=torch.tensor([[True], [False]]),
        ...                 reference=torch.tensor([[-3.0], [-3.0]]))
        >>> loss.update(loss.observe(points))  # rewards 1 and 0: the threshold is 0.5
        >>> loss(points)  # sigma(0.5) both
        tensor([0.4741, 0.4741])
    """

    when: Literal["after"] = "after"

    def __init__(
        self,
        *,
        beta: Strength = 0.1,
        decay: Annotated[float, Range(at_least=0, below=1, usual=(0.9, 0.99))] = 0.9,
        balanced: bool = True,
    ) -> None:
        self.options: dict[str, Any] = {"beta": beta, "decay": decay, "balanced": balanced}
        check_options(bco, self.options)
        self.beta, self.decay, self.balanced = beta, decay, balanced
        self.moments: dict[str, float] = dict.fromkeys(
            ("good", "good_count", "bad", "bad_count"), 0.0
        )
        self.spec: Spec = spec(_classifier, **self.options)

    @property
    def threshold(self) -> float:
        """Delta, in units of reward; 0 before the first step."""
        m = self.moments
        if self.balanced:
            means = [m[k] / m[f"{k}_count"] for k in ("good", "bad") if m[f"{k}_count"] > 0]
            return sum(means) / len(means) if means else 0.0
        count = m["good_count"] + m["bad_count"]
        return (m["good"] + m["bad"]) / count if count > 0 else 0.0

    def __call__(self, scores: Scores) -> Tensor:
        """Return [B] the loss per row, nats, for points with labels."""
        return _classifier(scores, threshold=self.threshold, **self.options)

    def observe(self, scores: Scores) -> dict[str, Tensor]:
        """Return sums and numbers of the rewards of liked and of disliked rows with weight."""
        reward = self.beta * scores.log_ratio.detach()[:, 0]
        label = cast(Tensor, scores.label).bool()[:, 0]
        has_weight = torch.ones_like(label) if scores.weight is None else scores.weight > 0
        sums: dict[str, Tensor] = {}
        for name, rows in (("good", label & has_weight), ("bad", ~label & has_weight)):
            sums[name] = torch.where(rows, reward, 0.0).sum()
            sums[f"{name}_count"] = rows.sum().to(reward.dtype)
        return sums

    def update(self, sums: dict[str, Tensor]) -> None:
        """Move the statistic, from the sums over all rows of a step."""
        for name in self.moments:
            self.moments[name] = self.decay * self.moments[name] + float(sums[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the moving sums and counts."""
        return dict(self.moments)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the moving sums and counts."""
        self.moments = {name: float(state[name]) for name in self.moments}


@objective(
    "point",
    name="bco",
    needs=LABEL,
    formula=lambda options: (
        "desirable: -log sigma({beta} h - c); undesirable: -log sigma(c - {beta} h), c = mean "
        + ("of both classes' mean" if options["balanced"] else "of all")
        + " {beta} h over steps that fade by {decay}"
    ),
)
def _classifier(
    scores: Scores, *, beta: Strength, decay: float, balanced: bool, threshold: float = 0.0
) -> Tensor:
    logit = beta * scores.log_ratio - threshold
    return logistic(torch.where(cast(Tensor, scores.label).bool(), logit, -logit))[:, 0]
