"""DPO with a change to its logit: an offset, a penalty, a likelihood term."""

from typing import Annotated, cast

from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import expected, gap, label_text, logistic, per_unit, soft_label
from prefine.objectives.options import LabelNoise, NonNegative, Range, Strength
from prefine.objectives.pairwise import REFERENCE_AND_PROB
from prefine.scores import Needs, Scores


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="-p log sigma(u) - (1 - p) log sigma(-u), "
    "u = {beta} [l_w - l_l - {gamma} (log ref_w - log ref_l)]",
)
def gamma_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    gamma: Annotated[float, Range(at_least=0, at_most=1)] = 0.5,
) -> Tensor:
    r"""DPO that leans on the reference by a share gamma: 1 is DPO, 0 needs none (DPO^gamma).

    .. math:: \ell = -p\log\sigma(u) - (1-p)\log\sigma(-u), \quad u = \beta\,\Big[
        \log\frac{\pi(y_w|x)}{\pi(y_l|x)} - \gamma \log\frac{ref(y_w|x)}{ref(y_l|x)}\Big]

    A pair that the reference ranks wrongly by c nats is ranked rightly under DPO only once its
    margin exceeds c; a smaller gamma asks for less of the reference and so turns more pairs around,
    further from the reference.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        gamma: Share of the reference's opinion that is subtracted; the paper gives no default.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts above 0.693 where the reference ranks the pair wrongly and below where it
        ranks it rightly. `ranking_accuracy` rises faster than under `dpo`.

    Pitfalls:
        The smaller gamma, the further the policy moves from the reference for the same
        margin: watch `kl_reference` and samples. Reward metrics keep the whole reference,
        so they are not the loss's logit.

    Source:
        Chen et al. 2024, arXiv:2405.19534, sec. 5, where the option is gamma; alpha in its code.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-3.0, -1.0]]))
        >>> gamma_dpo(pair, beta=0.5)  # u = 0.5 (2 + 0.5 * 2)
        tensor([0.2014])
    """
    reference = scores.policy - scores.log_ratio
    logit = beta * gap(scores.policy - gamma * reference)
    return expected(logistic(logit), logistic(-logit), soft_label(scores))


@objective(
    "pair",
    needs=Needs(reference=True),
    formula="-log sigma({beta} (h_w - max(h_l, -{floor})))",
)
def clipped_dpo(
    scores: Scores, *, beta: Strength = 0.1, floor: Annotated[float, Range(above=0)] = 1.0
) -> Tensor:
    r"""DPO whose losing side is pushed no further than a floor.

    .. math:: \ell = -\log\sigma\big(\beta\,[h_w - \max(h_l, -f)]\big)

    Once the rejected response has lost f nats against the reference it is left alone: what is
    false here may be right elsewhere, as a changed caption is of another picture.

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.
        floor: f, nats (or halves of squared errors).

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. `log_ratio/rejected` falls to about minus the floor and stays there.

    Pitfalls:
        A floor far below what margins reach makes this imitation of the chosen; one far above
        makes it `dpo`.

    Source:
        TPO, arXiv:2509.25771, asks for gradient clipping on the losing side; this form is ours.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[1.0, -9.0]]), torch.ones(1, 2),
        ...               reference=torch.zeros(1, 2))
        >>> clipped_dpo(pair, beta=1.0, floor=2.0)  # log(1 + exp(-3))
        tensor([0.0486])
    """
    ratio = scores.log_ratio
    return logistic(beta * (ratio[:, 0] - ratio[:, 1].clamp(min=-floor)))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="-p log sigma(u) - (1 - p) log sigma(-u), u = {beta} (h_w - h_l) + {alpha} (n_w - n_l)",
)
def length_regularised_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    alpha: Annotated[float, Range(at_least=0, usual=(0.005, 0.05))] = 0.01,
) -> Tensor:
    r"""DPO for a reward that also charges for length (R-DPO).

    .. math:: \ell = -p\log\sigma(u) - (1-p)\log\sigma(-u),
        \quad u = \beta\,(h_w - h_l) + \alpha\,(n_w - n_l)

    The labels are taken to speak of quality alone, and the policy is to earn quality minus
    alpha / beta of length: a chosen response that is longer has already won part of its margin, so
    it is pushed less. (With a minus sign responses grow.)

    Args:
        scores: Pairs with reference scores and lengths, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        alpha: Logit per scored unit.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts near 0.693, above it where the rejected response is longer.
        `length_correlation` falls below that of `dpo`.

    Pitfalls:
        `alpha` is a logit per token: at 0.05 a difference of 200 tokens is 10, and content
        no longer counts. Length is then bought with quality: look at both.

    Source:
        Park et al. 2024, arXiv:2403.19159, eq. 9; the sign is derived there and tested here.

    Example:
        >>> import torch
        >>> pair = Scores(torch.zeros(1, 2), torch.tensor([[30.0, 10.0]]),
        ...               reference=torch.zeros(1, 2))
        >>> length_regularised_dpo(pair, alpha=0.05)  # sigma(1): the longer one was chosen
        tensor([0.3133])
    """
    logit = beta * gap(scores.log_ratio) + alpha * gap(scores.length)
    return expected(logistic(logit), logistic(-logit), soft_label(scores))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="-p log sigma(u) - (1 - p) log sigma(-u), u = {beta} (h_w / n_w - h_l / n_l)",
)
def length_normalised_dpo(
    scores: Scores, *, beta: Annotated[float, Range(above=0, usual=(1.0, 10.0))] = 2.0
) -> Tensor:
    r"""DPO on log-ratios per unit, so that long responses do not weigh more (LN-DPO).

    .. math:: \ell = -p\log\sigma(u) - (1-p)\log\sigma(-u),
        \quad u = \beta\,\Big(\frac{h_w}{n_w} - \frac{h_l}{n_l}\Big)

    For two responses of length n it is `dpo` with beta / n. `transforms.length_normalised` does the
    same to any objective.

    Args:
        scores: Pairs with reference scores and lengths, nats; `prob` is read where present.
        beta: KL strength, reward per nat per unit; `dpo`'s times a typical length.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. Log-ratios per token are small, so the loss falls less than under
        `dpo` for the same `rewards/accuracies`.

    Pitfalls:
        With DPO's beta of 0.1 it hardly learns: beta is larger by about the length of a
        response. Short responses move most, one token of them counts as much as many of a
        long one.

    Source:
        Ahrabian et al. 2024, arXiv:2407.15229; the range of beta also from Lambert et al. 2024,
        arXiv:2411.15124.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-2.0, -6.0]]), torch.tensor([[2.0, 4.0]]),
        ...               reference=torch.tensor([[-4.0, -4.0]]))
        >>> length_normalised_dpo(pair, beta=1.0)  # (2 / 2) - (-2 / 4) = 1.5
        tensor([0.2014])
    """
    logit = beta * gap(per_unit(scores, scores.log_ratio))
    return expected(logistic(logit), logistic(-logit), soft_label(scores))


@objective(
    "pair",
    needs=Needs(reference=True),
    formula="-log sigma({beta} (h_w - h_l - {penalty} max(0, -h_w)))",
)
def dpop(
    scores: Scores,
    *,
    beta: Strength = 0.3,
    penalty: Annotated[float, Range(at_least=0, usual=(5.0, 500.0))] = 50.0,
) -> Tensor:
    r"""DPO that charges for making the chosen response less likely (DPO-positive).

    .. math:: \ell = -\log\sigma\big(\beta\,(h_w - h_l - \lambda\,[-h_w]_+)\big)

    The penalty stays in the graph: below the reference the chosen response is pulled up
    1 + lambda times as hard.

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.
        penalty: lambda.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. `log_ratio/chosen` should stay near or above 0, which `dpo` does
        not promise; `rewards/margins` rises more slowly.

    Pitfalls:
        A penalty of 50 makes the gradient of a row whose chosen response has fallen 50
        times as large: clip gradients, and watch `grad_norm`.

    Source:
        Pal et al. 2024, arXiv:2402.13228 (Smaug), eq. 3.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-2.5, -5.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> dpop(pair, beta=1.0, penalty=5.0)  # 2.5 - 5 (0.5) = 0
        tensor([0.6931])
    """
    ratio = scores.log_ratio
    return logistic(beta * (gap(ratio) - penalty * (-ratio[:, 0]).relu()))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula=lambda options: (
        "-q log sigma(u) - (1 - q) log sigma(-u) - {likelihood_weight} l_w / n_w, "
        "u = {beta} (h_w - h_l), " + label_text(options)
    ),
)
def rpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    likelihood_weight: NonNegative = 1.0,
    label_noise: LabelNoise = 0.0,
) -> Tensor:
    r"""DPO plus the likelihood of the chosen response, which keeps it from falling (RPO, DPO+NLL).

    .. math:: \ell = \ell_{DPO} - \lambda\,\frac{\log\pi(y_w|x)}{n_w}

    The likelihood term is of the first response, whatever its soft label.

    Args:
        scores: Pairs with reference scores and lengths, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        likelihood_weight: lambda.
        label_noise: As for `dpo`.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts above 0.693, by `likelihood_weight` times the negative log-likelihood per token of
        the chosen response. `logps/chosen` rises, which is what it is for.

    Pitfalls:
        A large weight is supervised training on the chosen responses: then
        `rewards/margins` stands still.

    Source:
        Pang et al. 2024, arXiv:2404.19733 (Iterative RPO), eq. 1; Liu et al. 2024,
        arXiv:2405.16436.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-2.0, -2.0]]), torch.full((1, 2), 4.0),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> rpo(pair)  # log 2 + 2 / 4
        tensor([1.1931])
    """
    logit = beta * gap(scores.log_ratio)
    preference = expected(logistic(logit), logistic(-logit), soft_label(scores, label_noise))
    return preference - likelihood_weight * per_unit(scores, scores.policy)[:, 0]


@objective(
    "pair",
    needs=Needs(
        reference=True, fields=frozenset({"prob", "utility"}), required=frozenset({"utility"})
    ),
    formula="-p log sigma(u) - (1 - p) log sigma(-u), "
    "u = [{beta} (h_w - h_l) - (1 - {weight}) (s_w - s_l)] / {weight}, s = utility",
)
def modpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    weight: Annotated[float, Range(at_least=0.05, at_most=1, usual=(0.1, 0.9))] = 0.5,
) -> Tensor:
    r"""DPO for a weighted sum of rewards, of which pairs tell one and `utility` the others (MODPO).

    With s the reward of what the pairs do not speak about,

    .. math:: \ell = -p\log\sigma(u) - (1-p)\log\sigma(-u), \quad
        u = \frac{\beta\,(h_w - h_l) - (1-w)\,(s_w - s_l)}{w}

    Its optimum is that of w r + (1 - w) s under the KL penalty, r being the reward behind the
    pairs. So a pair of which s, too, prefers the chosen response is pushed further, not less.
    Several other rewards enter as their mean, each by its share of 1 - w.

    Args:
        scores: Pairs with reference scores, nats, and `utility`: s of each response, in the units
            of r (log-odds of a comparison). `prob` is read where present.
        beta: KL strength, reward per nat.
        weight: w, share of the reward behind the pairs; 1 is `dpo`. Train once for each.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no utilities or reference scores, or a row does not hold two
            responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1.313 with equal shares where s of the chosen response is higher by 1, above 0.693
        wherever it is higher. `rewards/margins` rises towards a sum of both gaps.

    Pitfalls:
        With the other sign of s it trains as well and looks as healthy, and ends at the optimum of
        w r - (1 - w) s. A reward in other units is a reward with another weight: bring s to the
        scale of a Bradley-Terry logit first. A small `weight` makes logits and gradients large.

    Source:
        Zhou et al. 2023, arXiv:2310.03708, eq. 7 and the authors' code.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.full((1, 2), -2.0), utility=torch.tensor([[2.0, 1.0]]))
        >>> modpo(pair, beta=1.0, weight=0.5)  # u = (2 - 0.5) / 0.5
        tensor([0.0486])
    """
    other = (1 - weight) * gap(cast(Tensor, scores.utility))
    logit = (beta * gap(scores.log_ratio) - other) / weight
    return expected(logistic(logit), logistic(-logit), soft_label(scores))
