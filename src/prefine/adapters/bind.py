"""Score inside the model's own forward call.

DDP and FSDP act on `forward`: gradients are reduced and shards gathered only for work done inside
it. `bind` replaces the forward of one instance, so that `model(batch=...)` runs the adapter's
`score` there, while the model's class, its saving and PEFT stay as they were.
"""

import types
from typing import Any

from torch import nn

_PLAIN = "_prefine_plain_forward"

HEAD = "vector_head"
"""Attribute of a bound model that holds what reads an item's hidden state, if anything does."""


def bind(model: nn.Module, adapter: Any) -> nn.Module:
    """Make `model(batch=..., needs=..., draw=...)` score a batch; other calls stay as they are.

    Args:
        model: Any module; binding again replaces the adapter.
        adapter: An `Adapter`.

    Returns:
        The same module.
    """
    plain = plain_forward(model)

    def scored(self: nn.Module, *args: Any, batch: Any = None, **kwargs: Any) -> Any:
        if batch is None:
            return plain(*args, **kwargs)
        return adapter.score(self, batch, **kwargs)

    object.__setattr__(model, _PLAIN, plain)
    model.forward = types.MethodType(scored, model)
    return model


def is_bound(model: nn.Module) -> bool:
    """Whether `model(batch=...)` scores, directly or through a wrapper such as DDP."""
    return hasattr(model, _PLAIN) or hasattr(getattr(model, "module", None), _PLAIN)


def plain_forward(model: nn.Module) -> Any:
    """Return the model's forward as it was before `bind`.

    An adapter calls this rather than the module: it is inside the module's call already, and a
    second entry would run the hooks of FSDP twice.
    """
    return getattr(model, _PLAIN, model.forward)
