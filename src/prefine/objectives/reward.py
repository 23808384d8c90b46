"""Losses on scalar rewards of a pair."""

from typing import Annotated, Literal

import torch
from torch import Tensor

from prefine.errors import ConfigError
from prefine.objectives.declare import Options, objective
from prefine.objectives.links import expected, gap, label_text, logistic, soft_label
from prefine.objectives.options import LabelNoise, NonNegative, Positive, Range
from prefine.objectives.ties import davidson, rao_kupper
from prefine.scores import Needs, Scores

Margin = Literal["none", "subtract", "scale"]
Ties = Literal["error", "soft", "rao_kupper", "davidson", "square"]


def _needs(options: Options) -> Needs:
    _check_tie_options(options)
    margin = {"margin"} if options["margin"] != "none" else set[str]()
    tie = {"tie"} if options["ties"] != "error" else set[str]()
    return Needs(fields=frozenset({"prob"} | margin | tie), required=frozenset(margin))


def _formula(options: Options) -> str:
    margin = " - m" if options["margin"] == "subtract" else ""
    scale = "m " if options["margin"] == "scale" else ""
    width = " - {tie_width}" if options["ties"] == "rao_kupper" else ""

    def logit(difference: str) -> str:
        return difference if options["temperature"] == 1 else f"({difference}) / {{temperature}}"

    first, second = logit("r_w - r_l" + margin), logit("r_l - r_w" + margin)
    either = f"-q log sigma({first}{width}) - (1 - q) log sigma({second}{width})"
    if options["ties"] == "davidson":
        either = f"-q log P({first}) - (1 - q) log P({second})"
    tie = {
        "error": "",
        "soft": "; a tie: the same with q = 1/2 and without m",
        "rao_kupper": "; a tie: -log(1 - sigma(d{width}) - sigma(-d{width})), d = {difference}",
        "davidson": ", P(d) = e^(d/2) / S(d), S(d) = e^(d/2) + e^(-d/2) + 2 * {tie_odds}; a tie: "
        "-log(2 * {tie_odds} / S({difference}))",
        "square": "; a tie: {tie_weight} (r_w - r_l)^2",
    }[options["ties"]]
    tie = tie.replace("{width}", width).replace("{difference}", logit("r_w - r_l"))
    centre = "; plus {centre} (r_w + r_l)^2" if options["centre"] else ""
    return f"{scale}[{either}], {label_text(options)}{tie}{centre}"


@objective("pair", needs=_needs, formula=_formula, unit="reward")
def bradley_terry(
    scores: Scores,
    *,
    temperature: Annotated[float, Range(above=0, usual=(0.1, 1.0))] = 1.0,
    margin: Margin = "none",
    label_noise: LabelNoise = 0.0,
    ties: Ties = "error",
    tie_width: Positive | None = None,
    tie_odds: Positive | None = None,
    tie_weight: Positive | None = None,
    centre: NonNegative = 0.0,
) -> Tensor:
    r"""Logistic loss on the difference of two rewards: the loss of a reward model.

    With q the probability that the first response is the better one (`dpo` says how a soft label
    and label noise combine) and temperature T,

    .. math:: \ell = -q\log\sigma\big((r_w - r_l)/T\big) - (1-q)\log\sigma\big((r_l - r_w)/T\big)

    `scores.policy` holds rewards. With T = 1 this is `dpo` without a reference and with beta = 1.

    Args:
        scores: Pairs of rewards; `prob` is read where present, `margin` and `tie` as the options
            say. A column that the options leave unread is an error of the trainer, not a silence.
        temperature: T, in units of reward. Win probabilities mean nothing without it.
        margin: `"subtract"` demands that the better response lead by the row's margin, in units of
            reward: each difference becomes (r_w - r_l - m). `"scale"` multiplies the row's loss by
            m. `"none"` reads no margin.
        label_noise: Probability in [0, 0.5) that a label is flipped.
        ties: What a row marked as a tie costs. `"soft"`: q = 1/2. `"square"`: `tie_weight` times
            (r_w - r_l)^2. `"rao_kupper"`: -log P(tie) of the Rao-Kupper model, in which each side
            must lead by `tie_width` to win, so that P(w > l) = sigma((r_w - r_l)/T - width) and
            P(tie) is what remains. `"davidson"`: -log P(tie) of Davidson's model, in which winning,
            losing and tying are as e^(d/2) to e^(-d/2) to twice `tie_odds`. `"error"`: ties are not
            read; the trainer refuses such rows. A tie has no margin.
        tie_width: Half the width of the band of ties, in units of the logit; only and always with
            `ties="rao_kupper"`. A width that is learned belongs to the model.
        tie_odds: How likely a tie is between equals, against a decision; only and always with
            `ties="davidson"`.
        tie_weight: Only and always with `ties="square"`.
        centre: Coefficient of (r_w + r_l)^2, which fixes the constant that a difference leaves
            free; 0.01 is usual. Needed before rewards of different prompts are compared.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a margin is asked for and absent, or a row does not hold two responses.
        ConfigError: If an option is out of range, or an option of another kind of tie is given.

    Curves:
        Starts near 0.693 with a new head; `rewards/accuracies` is the number to watch.
        Held-out loss that rises while accuracy stands means overconfidence, not a worse
        order.

    Pitfalls:
        Only differences count, so rewards drift together: `centre` holds them. Labels that
        are wrong at a fixed rate make it overconfident (`label_noise`). It learns length
        where the longer response tends to win: compare with the baseline in the report.

    Source:
        Bradley & Terry 1952; as a reward model: Ouyang et al. 2022, arXiv:2203.02155, eq. 1.
        Margin: Touvron et al. 2023, arXiv:2307.09288, eq. 2; scaled: Wang et al. 2024,
        arXiv:2410.01257. Ties: Rao & Kupper 1967; Davidson 1970; squared: Zhang et al. 2025,
        arXiv:2502.10391.
        Centring: Eisenstein et al. 2023, arXiv:2312.09244.

    Example:
        >>> pair = Scores(torch.tensor([[3.0, 1.0]]), torch.ones(1, 2), margin=torch.tensor([2.0]))
        >>> bradley_terry(pair), bradley_terry(pair, margin="subtract")
        (tensor([0.1269]), tensor([0.6931]))
    """
    difference, q = gap(scores.policy), soft_label(scores, label_noise)
    is_tie = scores.tie if ties != "error" else None
    lead = scores.margin if margin != "none" else None
    if is_tie is not None and lead is not None:
        lead = torch.where(is_tie, 1.0 if margin == "scale" else 0.0, lead)
    demanded = lead if margin == "subtract" and lead is not None else 0.0

    def win(leading: Tensor) -> Tensor:
        logit = (leading - demanded) / temperature
        return davidson(logit, tie_odds)[0] if tie_odds else logistic(logit - (tie_width or 0.0))

    loss = expected(win(difference), win(-difference), q)
    if margin == "scale" and lead is not None:
        loss = lead * loss
    if is_tie is not None:
        logit = difference / temperature
        if tie_weight is not None:
            tied = tie_weight * difference.square()
        elif tie_width is not None:
            tied = rao_kupper(logit, tie_width)[1]
        elif tie_odds is not None:
            tied = davidson(logit, tie_odds)[1]
        else:
            tied = (logistic(logit) + logistic(-logit)) / 2
        loss = torch.where(is_tie, tied, loss)
    return loss + centre * scores.policy.sum(1).square() if centre else loss


def _check_tie_options(options: Options) -> None:
    ties = options["ties"]
    kinds = {"tie_width": "rao_kupper", "tie_odds": "davidson", "tie_weight": "square"}
    for name, kind in kinds.items():
        value = options[name]
        if ties == kind and value is None:
            raise ConfigError(f'`ties="{kind}"` needs `{name}`, a positive number: set it.')
        if ties != kind and value is not None:
            raise ConfigError(
                f'`{name}` is read only with `ties="{kind}"`, got `ties="{ties}"`: '
                "an option that does nothing misleads. Remove it or change `ties`."
            )
