"""A head that is trained beside a policy, and thrown away: it tells how damaged a response is.

It stands on the policy while it is trained, so that its gradients travel with the policy's, and is
in no state of it, so that no saved model holds it. Checkpoints keep it in a file of its own.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prefine.adapters.bind import HEAD
from prefine.errors import RunFolderError

WEIGHTS = "degree_head.safetensors"


class DegreeHead(nn.Module):
    r"""Linear logits of degrees from a hidden state, :math:`W z / \sqrt{H} + b`.

    Both begin at 0: every degree is as likely as another, and the policy hears nothing of the head
    before the head has learnt something. The factor keeps the head's gradient small beside the
    policy's, with which it is clipped. It computes in float32 or wider.

    Args:
        hidden: H, size of a hidden state.
        degrees: How many degrees there are.
        learning_rate: Its own: at a policy's rate of 1e-6 it would stay at 0.
        dtype: float32 or float64.

    Example:
        >>> DegreeHead(2, 4, learning_rate=1e-3)(torch.ones(1, 2)).softmax(-1)
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=<SoftmaxBackward0>)
    """

    def __init__(
        self,
        hidden: int,
        degrees: int,
        *,
        learning_rate: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(degrees, hidden, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(degrees, dtype=dtype))
        self.learning_rate = learning_rate

    def forward(self, hidden: Tensor) -> Tensor:
        """Return [N, D + 1] logits of hidden states [N, H]."""
        with torch.autocast(hidden.device.type, enabled=False):
            wide = hidden.to(self.weight.dtype) / self.weight.shape[1] ** 0.5
            return nn.functional.linear(wide, self.weight, self.bias)

    def _save_to_state_dict(self, *_: Any, **__: Any) -> None:
        """Leave nothing in the state of the model that it stands on."""

    def _load_from_state_dict(self, *_: Any, **__: Any) -> None:
        """Miss nothing in it."""

    def save(self, checkpoint: Path) -> None:
        """Write the weights into a checkpoint."""
        from safetensors.torch import save_file

        weights = {name: p.detach().cpu().contiguous() for name, p in self.named_parameters()}
        save_file(weights, str(checkpoint / WEIGHTS))

    def load(self, checkpoint: Path) -> None:
        """Read the weights back.

        Raises:
            RunFolderError: If the checkpoint holds none.
        """
        from safetensors.torch import load_file

        if not (checkpoint / WEIGHTS).is_file():
            raise RunFolderError(
                f"{checkpoint.name} holds no head of degrees. Resume with the `degrees` that the "
                "run was started with."
            )
        weights = load_file(str(checkpoint / WEIGHTS))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(weights[name])

    def take_own_rate(self, optimizer: Optimizer) -> None:
        """Move the head into a group of its own, with its own rate and no decay."""
        own = set(self.parameters())
        if optimizer.param_groups[-1].get("head"):
            return
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if p not in own]
        optimizer.add_param_group(
            {"params": [*self.parameters()], "lr": self.learning_rate, "weight_decay": 0.0,
             "head": True}
        )  # fmt: skip


def attach_head(model: nn.Module, degrees: int, learning_rate: float) -> DegreeHead:
    """Put a new head on a policy; its adapter then gives logits of degrees as `vector`.

    Args:
        model: A causal language model, with or without LoRA.
        degrees: How many degrees there are.
        learning_rate: Of the head.
    """
    config: Any = model.config
    wide = torch.float64 if next(model.parameters()).dtype == torch.float64 else torch.float32
    head = DegreeHead(
        config.get_text_config().hidden_size, degrees, learning_rate=learning_rate, dtype=wide
    )
    setattr(model, HEAD, head.to(next(model.parameters()).device))
    return head


def head_on(model: nn.Module) -> DegreeHead | None:
    """Return the head of a policy, or None."""
    head = model._modules.get(HEAD)
    return head if isinstance(head, DegreeHead) else None
