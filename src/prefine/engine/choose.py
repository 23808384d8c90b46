"""Choose how a model's batches are laid out: packed where that is the same function, else padded.

Nothing is believed: a few made-up prompts and responses are scored both ways, values and
gradients, and a model that gives other numbers on a packed row keeps its padded ones.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prefine.engine.layout import Item, Tokens, pack
from prefine.engine.packed import base_of, hidden_states, token_log_probs
from prefine.engine.tree_attention import is_registered, over
from prefine.errors import EngineError

LENGTHS = ((9, (4, 7)), (5, (6,)), (3, (1, 2, 5)))
"""Tokens of each made-up prompt and of its responses."""

ALLOWED = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest relative difference that rounding explains; the models' own norms run in float32."""

MOST_CHECKED = 16
"""Parameters whose gradients are compared, from both ends of the model."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How batches are laid out, and why.

    Attributes:
        layout: `packed`, or `padded`.
        reason: For `padded`, what stands in the way; else "".
    """

    layout: Literal["padded", "packed"]
    reason: str = ""


def choose_layout(model: nn.Module, is_reward: bool = False) -> Choice:
    """Prepare a model for packed rows if they give what padded rows give.

    Its attention implementation then follows a layout where it is given one, and is what it was
    elsewhere. A model that fails is left as it was.

    Args:
        model: A transformers model with a language-model head, or a reward model; may hold
            adapters.
        is_reward: Whether the reward at the last token is what is scored.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> tiny = LlamaConfig(vocab_size=32, hidden_size=8, intermediate_size=8,
        ...                    num_hidden_layers=1, num_attention_heads=2)
        >>> choose_layout(LlamaForCausalLM(tiny))
        Choice(layout='packed', reason='')
    """
    config = base_of(model).config
    before = config._attn_implementation
    try:
        with _still(model):
            plain = _scored(model, is_reward=is_reward, packed=False)
            config._attn_implementation = over(before)
            for share in (True, False):
                packed = _scored(model, is_reward=is_reward, packed=True, share=share)
                _compare(plain, packed, max(ALLOWED.get(p.dtype, 0.1) for p in model.parameters()))
    except Exception as error:  # any model's own code runs here; it may fail in any way
        config._attn_implementation = before
        return Choice("padded", f"{type(base_of(model)).__name__} has {_said(error)}")
    return Choice("packed")


def require_packed(model: nn.Module, is_reward: bool = False) -> None:
    """Prepare a model that is given a packed batch, if it was not prepared already.

    Raises:
        EngineError: If it cannot be scored on packed rows.
    """
    if is_registered(base_of(model).config._attn_implementation):
        return
    choice = choose_layout(model, is_reward)
    if choice.layout == "padded":
        raise EngineError(
            f"The batch is packed, but {choice.reason}. Lay it out with layout=padded."
        )


def _said(error: Exception) -> str:
    if isinstance(error, EngineError):
        return str(error)
    first = str(error).strip().splitlines()
    return f"a forward that fails on a packed row ({type(error).__name__}: {''.join(first[:1])})"


@contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """Leave mode and gradients of a model as they are."""
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        model.train(training)


def _items(vocabulary: int) -> list[Item]:
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(vocabulary, (count,), generator=generator).tolist()

    found: list[Item] = []
    for length, responses in LENGTHS:
        prompt = tokens(length)
        found += [(prompt, tokens(count), [1] * count) for count in responses]
    return found


def _scored(
    model: nn.Module, *, is_reward: bool, packed: bool, share: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """Values of the made-up items, and gradients of a weighted sum of them."""
    base = base_of(model)
    items = _items(base.config.get_text_config().vocab_size)
    device = next(base.parameters()).device
    if packed:
        row = pack(items, share=share).to(device)
        if is_reward:
            values = base.score(hidden_states(model, row)[row.last]).squeeze(-1)
        else:
            values = token_log_probs(model, row).log_prob
    else:
        score = _plain_reward if is_reward else _plain_log_probs
        values = torch.cat([score(base, prompt, response) for prompt, response, _ in items])
    weights = torch.linspace(-1, 2, len(values), device=device, dtype=values.dtype)
    learnt = [p for p in model.parameters() if p.requires_grad]
    learnt = learnt[: MOST_CHECKED // 2] + learnt[MOST_CHECKED // 2 :][-MOST_CHECKED // 2 :]
    if not learnt:
        return values.detach(), []
    gradients = torch.autograd.grad((values * weights).sum(), learnt, allow_unused=True)
    return values.detach(), [g for g in gradients if g is not None]


def _plain_log_probs(base: Any, prompt: Tokens, response: Tokens) -> Tensor:
    ids = torch.tensor([[*prompt, *response]], device=next(base.parameters()).device)
    forward: Callable[..., Any] = type(base).forward
    logits = forward(base, input_ids=ids, use_cache=False).logits[0, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits.log_softmax(-1).gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0]


def _plain_reward(base: Any, prompt: Tokens, response: Tokens) -> Tensor:
    ids = torch.tensor([[*prompt, *response]], device=next(base.parameters()).device)
    hidden = base.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return base.score(hidden[:, -1])[:, 0]


def _compare(
    plain: tuple[Tensor, list[Tensor]], packed: tuple[Tensor, list[Tensor]], allowed: float
) -> None:
    gap = _gap(packed[0], plain[0], 0.0)
    if not gap <= allowed:
        raise EngineError(f"values that differ by {gap:.2g} on a packed row")
    # Some gradients are 0 but for rounding; they are measured by the size of the others.
    size = max((float(gradient.abs().max()) for gradient in plain[1]), default=0.0)
    for one, other in zip(packed[1], plain[1], strict=True):
        gap = _gap(one, other, 1e-3 * size)
        if not gap <= 3 * allowed:
            raise EngineError(f"gradients that differ by {gap:.2g} on a packed row")


def _gap(ours: Tensor, theirs: Tensor, least: float) -> float:
    """Largest difference, as a share of the largest number."""
    size = max(float(theirs.double().abs().max()), least, 1e-12)
    return float((ours.double() - theirs.double()).abs().max()) / size
