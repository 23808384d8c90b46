"""Scalar reward models: one number for a prompt and its response."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from prefine.adapters.text_adapter import TextAdapter
from prefine.engine.choose import require_packed
from prefine.engine.layout import PackedItems
from prefine.engine.packed import hidden_states
from prefine.errors import ConfigError
from prefine.protocols import Batch, Draw
from prefine.scores import ItemScores, Needs


@dataclass(frozen=True)
class SequenceReward(TextAdapter):
    """Reads the reward at the last token of the conversation, found by the attention mask.

    Works on any transformers `...ForSequenceClassification` with a `score` head over a decoder.
    The head runs in float32 or wider, whatever the trunk's precision. Padding never matters: the
    last token is the last one attended to, not the last one that differs from a pad id.
    """

    name: ClassVar[str] = "sequence_reward"
    unit = "reward"

    def score(
        self,
        model: nn.Module,
        batch: Batch,
        draw: Draw | None = None,
        needs: Needs | None = None,
        against: Mapping[str, Tensor] | None = None,
    ) -> ItemScores:
        """Score the N items.

        Returns:
            `value` [N] reward, `length` [N] response tokens.
        """
        features = batch.get("features")
        pooled = self.features(model, batch) if features is None else features
        value = _in_full_precision(_trunk_and_head(model)[1], pooled).squeeze(-1)
        return ItemScores(value, batch["response_length"].to(value.dtype))

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return [N, H] the trunk's last hidden state at the last token of each item."""
        items = batch["items"]
        if isinstance(items, PackedItems):
            require_packed(model, is_reward=True)
            return hidden_states(model, items)[items.last]
        hidden = _trunk_and_head(model)[0](
            input_ids=items["input_ids"], attention_mask=items["attention_mask"], use_cache=False
        ).last_hidden_state
        last = items["attention_mask"].sum(1) - 1  # padding stands on the right
        return hidden[torch.arange(len(last), device=last.device), last]


def _trunk_and_head(model: nn.Module) -> tuple[Any, Any]:
    unwrap: Any = getattr(model, "get_base_model", None)  # PEFT's
    base: Any = model if unwrap is None else unwrap()
    head = getattr(base, "score", None)
    if head is None:
        raise ConfigError(
            f"{type(base).__name__} has no `score` head over a decoder. A reward model is a "
            "decoder loaded with AutoModelForSequenceClassification."
        )
    return base.base_model, head


def _in_full_precision(head: nn.Module, pooled: Tensor) -> Tensor:
    if pooled.dtype in (torch.float32, torch.float64):
        return head(pooled)
    with torch.autocast(pooled.device.type, enabled=False):
        if isinstance(head, nn.Linear):
            bias = None if head.bias is None else head.bias.float()
            return nn.functional.linear(pooled.float(), head.weight.float(), bias)
        return head(pooled).float()
