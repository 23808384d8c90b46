"""Causal language models: the log-probability of a response given its prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from prefine.adapters.alignment import edited_tokens
from prefine.adapters.bind import HEAD, plain_forward
from prefine.adapters.text_adapter import TextAdapter
from prefine.engine.choose import require_packed
from prefine.engine.layout import PackedItems
from prefine.engine.packed import (
    head_of,
    hidden_states,
    scored_logits,
    table,
    table_mask,
    token_log_probs,
)
from prefine.errors import ObjectiveError
from prefine.protocols import Batch, Draw
from prefine.scores import ItemScores, Needs


@dataclass(frozen=True)
class CausalLM(TextAdapter):
    """Sums the log-probabilities of a response's tokens.

    The score is exact, on padded rows and on a packed one: nats of the whole response, its EOS
    included. `length` counts the scored tokens, after the shift by one.
    """

    name: ClassVar[str] = "causal_lm"
    unit = "nats"
    has_vector = True
    elements = frozenset(
        {
            "log_prob", "edited", "entropy", "top_entropy", "top_mass", "log_collision",
            "log_softmax", "kl_reference",
        }
    )  # fmt: skip

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
            `value` [N] nats, `length` [N] tokens, and the elements that `needs` names, with `mask`:
            `log_prob` [N, L] nats; without gradient `entropy` [N, L] nats, `log_collision` [N, L],
            the log of the sum of squared probabilities, and `top_entropy` and `top_mass` [N, L],
            what the ten likeliest tokens hold of entropy and probability; `kl_reference` [N, L],
            nats, the divergence of the reference from this model, for which `against` holds the
            reference's `log_softmax` [M, V] at the M scored tokens in order, an element, too;
            `edited` [N, L], 1 for tokens that the other response of the pair does not have. If
            `needs` asks, `vector` [N, H], the last hidden state at each item's last token, which
            is the scored end of its response; or [N, D], what a head on the model makes of it
            (see `training.degree_head`).
        """
        items, needs = batch["items"], Needs() if needs is None else needs
        wanted = needs.elements
        if isinstance(items, PackedItems):
            tokens = _packed(model, items, wanted)
        else:
            tokens = padded_tokens(model, items, needs.vector)
        value = tokens.table.sum(1)
        elements = token_elements(wanted, tokens, against)
        if "edited" in wanted:
            at = tokens.lay_out(tokens.target)
            elements["edited"] = edited_tokens(batch["index"], at, tokens.mask)
        vector = _read(model, tokens.last) if needs.vector else None
        return ItemScores(value, tokens.mask.sum(1).to(value.dtype), vector, elements)


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """Scored tokens of N items.

    Attributes:
        table: [N, L] log-probabilities, 0 where no token is scored.
        mask: [N, L] which are.
        target: [S] ids of the scored tokens, in order.
        lay_out: Turns [S] values of the scored tokens, in order, into [N, L].
        logits: [S, V], or None where whole distributions were not asked for.
        entropy: [S] without gradient, or None.
        top: [S, k] log-probabilities of the likeliest tokens, or None.
        last: [N, H] the last hidden state at each item's last token, or None.
    """

    table: Tensor
    mask: Tensor
    target: Tensor
    lay_out: Callable[[Tensor], Tensor]
    logits: Tensor | None
    entropy: Tensor | None = None
    top: Tensor | None = None
    last: Tensor | None = None


TOP = 10
"""Likeliest tokens that `top_entropy` and `top_mass` are of; arXiv:2410.11677."""

OF_TOP = {"top_entropy", "top_mass"}

WHOLE = {"log_collision", "log_softmax", "kl_reference"}
"""Elements that need every token's whole distribution at once."""


def padded_tokens(
    model: nn.Module, items: Mapping[str, Tensor], vector: bool = False
) -> ScoredTokens:
    """Score the tokens of padded rows.

    Args:
        model: A causal language model.
        items: Padded rows, with their masks.
        vector: Whether the last hidden states are wanted, too.
    """
    inputs = {"input_ids": items["input_ids"], "attention_mask": items["attention_mask"]}
    more = {"output_hidden_states": True} if vector else {}
    out = plain_forward(model)(**inputs, **more, use_cache=False)
    logits = out.logits[:, :-1]
    mask = items["response_mask"][:, 1:]
    kept = logits[mask]
    kept = kept if kept.dtype == torch.float64 else kept.float()

    def lay_out(values: Tensor) -> Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    target = items["input_ids"][:, 1:][mask]
    last = None
    if vector:
        end = items["attention_mask"].sum(1) - 1  # padding stands on the right
        last = out.hidden_states[-1][torch.arange(len(end), device=end.device), end]
    return ScoredTokens(lay_out(_chosen(kept, target)), mask, target, lay_out, kept, last=last)


def _packed(model: nn.Module, items: PackedItems, wanted: frozenset[str]) -> ScoredTokens:
    def lay_out(values: Tensor) -> Tensor:
        return table(items, values)

    require_packed(model)
    mask, hidden = table_mask(items), hidden_states(model, items)
    last = hidden[items.last]
    if wanted & WHOLE:
        logits = scored_logits(model, items, hidden)
        found = lay_out(_chosen(logits, items.target))
        return ScoredTokens(found, mask, items.target, lay_out, logits, last=last)
    top = top_of(wanted, head_of(model).weight.shape[0])
    said = token_log_probs(model, items, hidden=hidden, entropy="entropy" in wanted, top=top)
    return ScoredTokens(
        lay_out(said.log_prob), mask, items.target, lay_out, None, said.entropy, said.top, last
    )


def top_of(wanted: frozenset[str], vocabulary: int) -> int:
    """Return how many of the likeliest tokens are asked for."""
    return min(TOP, vocabulary) if wanted & OF_TOP else 0


def _read(model: nn.Module, last: Tensor | None) -> Tensor | None:
    """What a head on the model makes of hidden states, or the states themselves."""
    head = getattr(model, HEAD, None)
    return last if head is None or last is None else head(last)


def _chosen(logits: Tensor, target: Tensor) -> Tensor:
    return logits.gather(-1, target[:, None]).squeeze(-1) - logits.logsumexp(-1)


def token_elements(
    wanted: frozenset[str], tokens: ScoredTokens, against: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Return those elements of tokens that are wanted; see `CausalLM.score`."""
    if not wanted:
        return {}
    elements, logits = {"mask": tokens.mask}, tokens.logits
    if "log_prob" in wanted:
        elements["log_prob"] = tokens.table
    if "entropy" in wanted:
        entropy = tokens.entropy
        if entropy is None:
            assert logits is not None
            log_probs = logits.detach().log_softmax(-1)
            entropy = -(log_probs.exp() * log_probs).sum(-1)
        elements["entropy"] = tokens.lay_out(entropy)
    if wanted & OF_TOP:
        top = tokens.top
        if top is None:
            assert logits is not None
            top = logits.detach().log_softmax(-1).topk(min(TOP, logits.shape[-1])).values
        elements["top_entropy"] = tokens.lay_out(-(top.exp() * top).sum(-1))
        elements["top_mass"] = tokens.lay_out(top.exp().sum(-1))
    if logits is None:
        return elements
    if "log_collision" in wanted:
        collision = (2 * logits.detach().log_softmax(-1)).logsumexp(-1)
        elements["log_collision"] = tokens.lay_out(collision)
    if "log_softmax" in wanted:
        elements["log_softmax"] = logits.log_softmax(-1)
    if "kl_reference" in wanted:
        reference = None if against is None else against.get("log_softmax")
        if reference is None:
            raise ObjectiveError(
                "The divergence from the reference needs its whole distribution at every token, "
                "which a cache does not hold. Use reference=module or reference=adapter_off."
            )
        divergence = (reference.exp() * (reference - logits.log_softmax(-1))).sum(-1)
        elements["kl_reference"] = tokens.lay_out(divergence)
    return elements
