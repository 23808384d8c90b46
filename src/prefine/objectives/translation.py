"""Objectives of simultaneous translation, whose trajectories are read and write actions, too."""

from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import objective
from prefine.objectives.links import gap, logistic
from prefine.objectives.options import NonNegative, Strength
from prefine.scores import Needs, Scores

ACTIONS = ("action_log_prob", "reference_action_log_prob")


@objective(
    "pair",
    needs=Needs(reference=True, elements=frozenset({*ACTIONS, "delay"})),
    formula="-log sigma({beta} (g_w - g_l)) + {delay_weight} delay - {action_imitation} mean log q "
    "of the actions of w, g = h + {action_weight} sum of log-ratios of actions",
)
def simul_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    action_weight: NonNegative = 1.0,
    delay_weight: NonNegative = 0.1,
    action_imitation: NonNegative = 0.0,
) -> Tensor:
    r"""DPO on whole trajectories of a translator that reads and writes in turn, with their delay.

    A trajectory is what is written and when. Its score adds both heads, tokens
    :math:`\pi(y_t | x_{\le g(t)}, y_{<t})` and actions :math:`q(a_t)`:

    .. math:: u = \sum_t \log\frac{\pi}{\pi_{ref}}(y_t)
        + \lambda \sum_t \log\frac{q}{q_{ref}}(a_t), \quad
        \ell = -\log\sigma\big(\beta\,(u_w - u_l)\big)
        + \frac{\eta}{2}\sum_{y}\frac{1}{|y|}\sum_t \frac{E_q[g(t)]}{|x|}
        - \frac{\gamma}{|y_w|}\sum_t \log q(a_t^w)

    Labels speak of quality; delay is paid for beside them. Where both responses follow one rule,
    their actions cancel in the first term, and only imitation of the better one's actions keeps the
    price from ending all reading.

    Args:
        scores: Pairs, nats, each token scored with the source that was read when it was written,
            under policy and reference alike, and the elements `action_log_prob` and
            `reference_action_log_prob` [B, 2, L], nats, of the actions before each token, and
            `delay` [B, 2, L], the expected share of the source read by then, with gradient.
        beta: KL strength, reward per nat.
        action_weight: Weight lambda of the actions; 0 leaves them to the delay alone.
        delay_weight: Price eta of waiting for the whole source before the first word.
        action_imitation: Weight gamma of the likelihood of the better response's actions, nats a
            written token. A reading that every trajectory has stays while gamma by the length of
            the translation is above eta by that of the source; one that some have becomes rarer.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, an element is missing, or a row does not
            hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        The first loss is 0.693 and the price of the delay. `delay` falls first where reading on
        changes nothing. Rewards and margins of a run are those of the words alone.

    Pitfalls:
        Paths must not tell good from bad by themselves: lay both along one rule, or draw them from
        one policy. Scores with the whole source in view leak what had not been said yet. Paths that
        differ between records (several k of wait-k) leave something to save; a price without them
        or without imitation ends in words that are written unread: look at `prefine evaluate
        latency` and at the words.

    Source:
        SimulPL, arXiv:2502.00634. The form of the loss is ours: its code was not published.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 2, 1)
        >>> pair = Scores(torch.tensor([[-1.0, -2.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]),
        ...               elements={"mask": one > 0, "delay": one / 2,
        ...                         "action_log_prob": torch.tensor([[[-1.0], [-3.0]]]),
        ...                         "reference_action_log_prob": -2 * one})
        >>> simul_dpo(pair, beta=1.0)  # u_w - u_l = (1 + 1) - (0 - 1); 0.0486 + 0.1 / 2
        tensor([0.0986])
    """
    elements = scores.elements
    if absent := sorted({"mask", "delay", *ACTIONS} - elements.keys()):
        raise ObjectiveError(
            f"simul_dpo needs {', '.join(absent)} of every written token, which these scores do "
            "not have: it is for translators that read and write in turn."
        )
    mask = elements["mask"].to(scores.policy.dtype)
    ratio = elements["action_log_prob"] - elements["reference_action_log_prob"]
    total = scores.log_ratio + action_weight * (ratio * mask).sum(2)
    delay = (elements["delay"] * mask).sum(2) / mask.sum(2).clamp(min=1)
    imitated = (elements["action_log_prob"] * mask)[:, 0].sum(1) / mask[:, 0].sum(1).clamp(min=1)
    waiting = delay_weight * delay.mean(1) - action_imitation * imitated
    return logistic(beta * gap(total)) + waiting
