"""How damaged a response is, told from what the policy makes of it: a term beside a pair loss."""

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import objective
from prefine.objectives.options import Strength
from prefine.scores import Needs, Scores


@objective(
    "list",
    needs=Needs(vector=True, columns=frozenset({"degree"})),
    formula="-{weight} mean over responses of log softmax(vector) at the response's degree",
)
def degree_cross_entropy(scores: Scores, *, weight: Strength = 0.1) -> Tensor:
    r"""Cross-entropy of a head that says how many steps a response was damaged by.

    The head reads the policy's last hidden state of a response; its logits are `scores.vector`. It
    is thrown away after training: what stays is a trunk that senses the degree. The block `degrees`
    of a run makes versions and head, beside any pair objective; the preset `spo` has it beside dpo.

    .. math:: \ell = -\frac{\lambda}{K} \sum_k \log\mathrm{softmax}(v_k)_{d_k}

    Args:
        scores: Versions of responses, with `vector` [B, K, D + 1], logits of the degrees, and the
            column `degree` [B, K], integers of 0 to D. Absent responses (`valid`) count for
            nothing.
        weight: Factor of the term.

    Returns:
        [B] loss per row, nats; 0 where every response is absent.

    Raises:
        ObjectiveError: If there is no vector or no degree, or they do not fit each other.
        ConfigError: If an option is out of range.

    Curves:
        Starts at `weight` log(D + 1) with a head that begins at 0. `degrees/accuracy` rises from
        1 / (D + 1); where it stays there, the head's rate is too small or versions are too alike.

    Pitfalls:
        Where damage makes responses shorter, the head learns to count tokens: replace rather than
        remove. It may still count the fillers, which takes no sense of content.

    Source:
        SPO, arXiv:2409.17791; the details are ours, the paper's abstract has none.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]])
        >>> rows = Scores(torch.zeros(1, 2), torch.ones(1, 2), vector=logits,
        ...               columns={"degree": torch.tensor([[0, 1]])})
        >>> degree_cross_entropy(rows, weight=1.0)  # (log 2 + log(1 + e^-2)) / 2
        tensor([0.4100])
    """
    degree = scores.columns["degree"]
    if scores.vector is None or scores.vector.shape[:2] != degree.shape:
        raise ObjectiveError(
            f"degree_cross_entropy reads `vector` [B, K, D + 1] beside `degree` "
            f"{tuple(degree.shape)}, got "
            f"{None if scores.vector is None else tuple(scores.vector.shape)}."
        )
    if bool((degree < 0).any()) or bool((degree >= scores.vector.shape[2]).any()):
        raise ObjectiveError(
            f"`degree` must lie within 0 and {scores.vector.shape[2] - 1}, the last that the head "
            f"knows; got {int(degree.min())} to {int(degree.max())}."
        )
    found = scores.vector.log_softmax(-1).gather(2, degree[..., None]).squeeze(2)
    present = torch.ones_like(found) if scores.valid is None else scores.valid.to(found)
    return -weight * (found * present).sum(1) / present.sum(1).clamp(min=1)
