"""Causal language models that read and write in turn: when they do, and what they write.

A trajectory is one text: what the model writes, READ tokens that it writes, and after each the next
piece of the source, which is given to it. A causal model sees at each place what had been read by
then and nothing more, so one forward pass scores a whole trajectory without a look ahead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from prefine.adapters.causal_lm import (
    CausalLM,
    ScoredTokens,
    padded_tokens,
    token_elements,
    top_of,
)
from prefine.adapters.templates import Piece
from prefine.adapters.text import SetAside, TextEncoder, Tokens
from prefine.engine.choose import require_packed
from prefine.engine.layout import PackedItems
from prefine.engine.linear_log_prob import linear_log_prob
from prefine.engine.packed import head_of, hidden_states, table, table_mask
from prefine.errors import ConfigError
from prefine.protocols import Batch, Draw
from prefine.records.streams import READ
from prefine.scores import ItemScores, Needs


def read_id(tokenizer: Any, read: str) -> int:
    """Return the id of the token that asks to read.

    Raises:
        ConfigError: If it is not one token.
    """
    ids = tokenizer(read, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ConfigError(
            f"streaming.read={read}: this model's tokenizer has no such token, so whether to read "
            "or to write is no single choice. First learn words and actions, which adds the token: "
            f"prefine train sft --set streaming.read={read}, and go on from its model."
        )
    return int(ids[0])


OF_WORDS = frozenset({"entropy", "top_entropy", "top_mass"})
"""Elements that any causal language model gives."""


@dataclass
class StreamEncoder(TextEncoder):
    """Encodes trajectories; sets aside what is none.

    Attributes:
        read: Id of the token that asks to read.
    """

    read: int = -1

    def _tokenise(self, start: str, pieces: Sequence[Piece]) -> Tokens:
        tokens = super()._tokenise(start, pieces)
        asks = tokens.response == self.read
        if not len(tokens.prompt) or (tokens.prompt == self.read).any():
            raise SetAside("a trajectory starts with a prompt that does not ask to read")
        if not asks.any():
            raise SetAside("nothing is read: no trajectory (see prefine curate streams)")
        revealed = ~tokens.mask & np.concatenate([[True], tokens.mask[:-1]])
        if (asks & ~tokens.mask).any() or not np.array_equal(
            np.flatnonzero(asks) + 1, np.flatnonzero(revealed)
        ):
            raise SetAside("not every reading reveals something, or something is revealed unasked")
        return tokens


@dataclass(frozen=True)
class StreamingLM(CausalLM):
    """Scores whole trajectories: words and actions in one sum, as `sft` learns them.

    Attributes:
        read: The token that asks to read.
    """

    read: str = READ

    @property
    def read_id(self) -> int:
        """Its id."""
        return read_id(self.tokenizer, self.read)

    def _encoder(self) -> TextEncoder:
        return StreamEncoder(
            self.tokenizer, self._chat(), self.max_length, self.truncate, read=self.read_id
        )


@dataclass(frozen=True)
class SimultaneousLM(StreamingLM):
    r"""Scores what is written apart from when it is.

    At each place that the model writes at it decides, with :math:`q = P(READ)`. Where it read, the
    action has log-probability :math:`\log q` and there is no word. Where it wrote a token, the
    action has :math:`\log(1 - q)`, and the token :math:`\log P(token) - \log(1 - q)`: its
    log-probability among all tokens but READ. The two together are the log-probability of the
    trajectory.

    `value` sums the tokens alone, EOS included, and `length` counts them.
    """

    name: ClassVar[str] = "simultaneous_lm"
    elements = OF_WORDS | {"action_log_prob", "delay"}

    def fingerprint(self) -> dict[str, Any]:
        """Fields that change a score."""
        return {**super().fingerprint(), "read": self.read}

    def score(
        self,
        model: nn.Module,
        batch: Batch,
        draw: Draw | None = None,
        needs: Needs | None = None,
        against: Mapping[str, Tensor] | None = None,
    ) -> ItemScores:
        r"""Score the N items.

        Returns:
            `value` [N] nats, `length` [N] written tokens, and the elements that `needs` names, at
            written tokens, which `mask` [N, L] marks: `action_log_prob` [N, L] nats, the sum over
            the decisions since the token before: to read, as often as it was, and to write;
            `delay` [N, L], with gradient, the share of the source that the model expects to have
            read by then, :math:`\frac{1}{|x|}(1 + \sum_j q_j)` over the decisions up to this one,
            from the first reading, which is given, to the last; `entropy`, `top_entropy` and
            `top_mass` without gradient, as `CausalLM` has them.

            The sum of q is the compensator of the number of readings: over trajectories that this
            model drew, its mean is that of :math:`g(t)/|x|`. On others it is what the model would
            do at the decisions that they meet, and can exceed 1 a little. Its gradient is that of
            the decisions met, not of which are met. The length of the source is the number of
            readings, so a trajectory reads its whole source.
        """
        items, wanted = batch["items"], frozenset() if needs is None else needs.elements
        if isinstance(items, PackedItems):
            found = self._packed(model, items, wanted)
        else:
            found = self._padded(model, items)
        elements = token_elements(wanted & OF_WORDS, found.tokens, None)
        if wanted & {"action_log_prob", "delay"}:
            elements["mask"] = found.tokens.mask
        if "action_log_prob" in wanted:
            elements["action_log_prob"] = between_words(found.action, found.tokens.mask)
        if "delay" in wanted:
            elements["delay"] = expected_delay(found.chance, found.read) * found.tokens.mask
        value, mask = found.tokens.table.sum(1), found.tokens.mask
        return ItemScores(value, mask.sum(1).to(value.dtype), None, elements)

    def _padded(self, model: nn.Module, items: Mapping[str, Tensor]) -> "_Decisions":
        tokens = padded_tokens(model, items)
        logits = tokens.logits
        assert logits is not None
        whole = tokens.table[tokens.mask]
        kept = torch.arange(logits.shape[1], device=logits.device) != self.read_id
        others = torch.where(kept, logits, -torch.inf)
        target = tokens.target[:, None]
        alone = logits.gather(1, target).squeeze(1) - others.logsumexp(1)
        return _Decisions.of(tokens, whole, alone, self.read_id)

    def _packed(self, model: nn.Module, items: PackedItems, wanted: frozenset[str]) -> "_Decisions":
        require_packed(model)
        hidden, head = hidden_states(model, items)[items.source], head_of(model)
        said = linear_log_prob(
            hidden, head, items.target,
            entropy="entropy" in wanted, top=top_of(wanted, head.weight.shape[0]),
        )  # fmt: skip
        alone = linear_log_prob(hidden, head, items.target, without=self.read_id).log_prob

        def lay_out(values: Tensor) -> Tensor:
            return table(items, values)

        tokens = ScoredTokens(
            lay_out(said.log_prob), table_mask(items), items.target, lay_out, None,
            said.entropy, said.top,
        )  # fmt: skip
        return _Decisions.of(tokens, said.log_prob, alone, self.read_id)


@dataclass(frozen=True, slots=True)
class _Decisions:
    """Decisions of N items, and the words that were written.

    Attributes:
        tokens: Written tokens alone, with their log-probabilities among all tokens but READ.
        action: [N, L] log-probability of each decision.
        chance: [N, L] that READ had.
        read: [N, L] where it was taken.
    """

    tokens: ScoredTokens
    action: Tensor
    chance: Tensor
    read: Tensor

    @classmethod
    def of(cls, tokens: ScoredTokens, whole: Tensor, alone: Tensor, read: int) -> "_Decisions":
        """Split scored tokens into decisions and words.

        Args:
            tokens: All that are scored.
            whole: [S] their log-probabilities.
            alone: [S] the same among all tokens but READ; means nothing where that was taken.
            read: Its id.
        """
        written = tokens.target != read
        zero = torch.zeros_like(whole)
        word = torch.where(written, alone, zero)
        action = whole - word
        chance = torch.where(written, -torch.expm1(action), action.exp())
        asked = tokens.lay_out((~written).to(whole.dtype)) > 0

        def lay_out(values: Tensor) -> Tensor:
            return tokens.lay_out(torch.where(written, values, torch.zeros_like(values)))

        words = ScoredTokens(
            tokens.lay_out(word), tokens.mask & ~asked, tokens.target, lay_out, tokens.logits,
            tokens.entropy, tokens.top,
        )  # fmt: skip
        return cls(words, tokens.lay_out(action), tokens.lay_out(chance), asked)


def between_words(action: Tensor, written: Tensor) -> Tensor:
    """Sum actions up to each written token, from after the one before it.

    Args:
        action: [N, L] log-probabilities of decisions, 0 where there is none.
        written: [N, L] true where a token was written.

    Returns:
        [N, L] nats, 0 where nothing was written.

    Example:
        >>> between_words(torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[False, True, True]]))
        tensor([[ 0., -3., -3.]])
    """
    word = written.long().cumsum(1) - written.long()
    total = torch.zeros_like(action).scatter_add(1, word, action)
    return torch.where(written, total.gather(1, word), torch.zeros_like(action))


def expected_delay(chance: Tensor, read: Tensor) -> Tensor:
    """Return the expected share of the source that is read by each decision.

    The first reading is given, since there is nothing to write about before it.

    Args:
        chance: [N, L] probability of reading at each decision, 0 where there is none.
        read: [N, L] true where the trajectory read.

    Returns:
        [N, L], with the gradient of the chances.

    Example:
        >>> chance = torch.tensor([[0.9, 0.5, 0.5, 0.5]])
        >>> expected_delay(chance, torch.tensor([[True, False, True, False]]))
        tensor([[0.5000, 0.7500, 1.0000, 1.0000]])
    """
    count = read.long()
    total, before = count.sum(1, keepdim=True), count.cumsum(1) - count
    is_open = (before > 0) & (before < total)
    given = (read & (before == 0)).to(chance.dtype)
    return (chance * is_open + given).cumsum(1) / total.clamp(min=1)
