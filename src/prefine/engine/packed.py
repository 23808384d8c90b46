"""Score a packed row with any causal language model whose attention can follow a layout."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from prefine.engine.layout import PackedItems
from prefine.engine.linear_log_prob import Head, Said, linear_log_prob
from prefine.errors import EngineError


def hidden_states(model: nn.Module, items: PackedItems) -> Tensor:
    """Return [T, H] the last hidden states of a packed row.

    Raises:
        EngineError: If not every layer's attention followed the layout.
    """
    trunk: Any = base_of(model).base_model
    items.layout.calls = 0
    out = trunk(
        input_ids=items.input_ids,
        attention_mask=_made(items.input_ids),
        position_ids=items.position_ids,
        use_cache=False,
        layout=items.layout,
    ).last_hidden_state
    layers = int(trunk.config.get_text_config().num_hidden_layers)
    if items.layout.calls != layers:
        raise EngineError(
            f"attention that asks for the layout {items.layout.calls} times in {layers} layers"
        )
    return out[0]


def _made(ids: Tensor) -> Tensor:
    """A mask that is ready made for transformers, which then makes none and reads no position.

    Attention that is given a layout does not read it.
    """
    return torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device)


def token_log_probs(
    model: nn.Module,
    items: PackedItems,
    *,
    hidden: Tensor | None = None,
    entropy: bool = False,
    top: int = 0,
) -> Said:
    """Return what is said of each scored token; entropies and the likeliest ones if asked.

    Args:
        model: The policy.
        items: A packed row.
        hidden: [T, H] its last hidden states, where they are at hand.
        entropy: Whether entropies are asked for.
        top: How many of the likeliest tokens are.
    """
    hidden = hidden_states(model, items) if hidden is None else hidden
    source = hidden[items.source]
    return linear_log_prob(source, head_of(model), items.target, entropy=entropy, top=top)


def scored_logits(model: nn.Module, items: PackedItems, hidden: Tensor) -> Tensor:
    """Return [S, V] the logits at the scored tokens alone, for losses on whole distributions."""
    head = head_of(model)
    logits = nn.functional.linear(hidden[items.source], head.weight, head.bias)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = logits * head.scale
    return logits if head.cap is None else head.cap * (logits / head.cap).tanh()


def base_of(model: nn.Module) -> Any:
    """The transformers model inside adapters."""
    unwrap: Any = getattr(model, "get_base_model", None)
    return model if unwrap is None else unwrap()


def head_of(model: nn.Module) -> Head:
    """Return what turns hidden states into logits.

    Raises:
        EngineError: If it is no plain linear layer.
    """
    base = base_of(model)
    layer = base.get_output_embeddings()
    if type(layer) is not nn.Linear:
        raise EngineError(f"an output layer of type {type(layer).__name__}")
    text = base.config.get_text_config()
    scale = float(getattr(text, "logit_scale", None) or 1.0)
    scale /= float(getattr(text, "logits_scaling", None) or 1.0)
    cap = getattr(text, "final_logit_softcapping", None)
    return Head(layer.weight, cast("Tensor | None", layer.bias), scale, cap)


def table(items: PackedItems, values: Tensor) -> Tensor:
    """Return [N, L] the values of scored tokens by item; 0 beyond an item's own."""
    laid_out = values.new_zeros((len(items.units), items.width))
    return laid_out.index_put((items.item, items.slot), values)


def table_mask(items: PackedItems) -> Tensor:
    """Return [N, L], true where an item has a scored token."""
    return torch.arange(items.width, device=items.units.device) < items.units[:, None]
