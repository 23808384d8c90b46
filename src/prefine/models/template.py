"""A chat template for other programs, such that they feed a model the tokens it was trained on.

Programs render a conversation with the template and turn the text into tokens, adding none. prefine
adds two things to what a template writes, and leaves one out:

- one BOS at the start, where the tokenizer adds one to plain text; some templates do not write it;
- it reads a reward at the end-of-sequence token that closes the response. Most templates write more
  after it, a line break say, and whoever pools at the last token (transformers, TRL, vLLM) would
  read another number there, one that no training ever touched.

The template that is made here writes the BOS, and for reward models nothing after the end.
"""

from collections.abc import Sequence
from typing import Any

BOS = "{{ bos_token }}"
OPENING = "{% set prefine_text %}"
CLOSING = (
    "{% endset %}"
    "{%- if messages[-1].role == 'assistant' and not add_generation_prompt"
    " and eos_token in prefine_text -%}"
    "{{- prefine_text.rsplit(eos_token, 1)[0] + eos_token -}}"
    "{%- else -%}{{- prefine_text -}}{%- endif -%}"
)

PROBE = (
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "Really?"},
    {"role": "assistant", "content": "Yes."},
)


def template_for_others(tokenizer: Any, *, is_reward: bool) -> tuple[str | None, list[str]]:
    """Return the template, and what it does that the tokenizer's own does not.

    Args:
        tokenizer: With a chat template.
        is_reward: Whether conversations end where the reward is read.

    Returns:
        The template, or None where the tokenizer's own does it all, or cannot be changed safely;
        and a sentence for each change.
    """
    own = tokenizer.chat_template
    if not isinstance(own, str):
        return None, []
    try:
        text = _render(tokenizer, own, PROBE)
        adds, cuts = _lacks_bos(tokenizer, text), is_reward and _goes_on(tokenizer, text)
        changed = OPENING + own + CLOSING if cuts else own
        changed = BOS + changed if adds else changed
        if changed == own or not _is_same(tokenizer, own, changed, adds=adds, cuts=cuts):
            return None, []
    except Exception:  # jinja's and the templates' own errors share no base
        return None, []
    notes = ["the chat template writes the BOS that the model was trained with"] if adds else []
    notes += ["the chat template ends where the reward is read"] if cuts else []
    return changed, notes


def _lacks_bos(tokenizer: Any, text: str) -> bool:
    bos = tokenizer.bos_token_id
    adds = bos is not None and tokenizer("a", add_special_tokens=True)["input_ids"][:1] == [bos]
    return adds and not text.startswith(tokenizer.bos_token)


def _goes_on(tokenizer: Any, text: str) -> bool:
    end = tokenizer.eos_token
    return end is not None and end in text and not text.endswith(end)


def _is_same(tokenizer: Any, own: str, changed: str, *, adds: bool, cuts: bool) -> bool:
    """Whether texts differ in what they should, and in nothing else."""
    start = tokenizer.bos_token if adds else ""
    for count in range(1, len(PROBE) + 1):
        for opened in (False, True):
            before = _render(tokenizer, own, PROBE[:count], opened)
            if cuts and PROBE[count - 1]["role"] == "assistant" and not opened:
                before = before.rsplit(tokenizer.eos_token, 1)[0] + tokenizer.eos_token
            if _render(tokenizer, changed, PROBE[:count], opened) != start + before:
                return False
    return True


def _render(tokenizer: Any, template: str, messages: Sequence[Any], opened: bool = False) -> str:
    return tokenizer.apply_chat_template(
        list(messages), chat_template=template, tokenize=False, add_generation_prompt=opened
    )
