"""Where a text may be cut so that its parts, tokenised alone, give the tokens of the whole.

Byte-level tokenizers (GPT-2, Llama 3, Qwen, o200k) first match a pattern along the text and then
merge bytes within each match. No match of a pattern listed here holds a space after another
character than white space, none looks back, and none looks ahead but over white space. So before
such a space a match ends and the next begins, whatever stands on the other side.
"""

import json
import re
from typing import Any

WORD = re.compile(r"\s*\S+(?:[^\S ]\s*\S*)*|\s+")
"""White space, and what follows it up to the next space. Cuts only before U+0020, only after what
Python takes for no white space, which is less than Unicode's property does."""

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?"
_UPPERCASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?"
PATTERNS = {
    "Llama 3": _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST,
    "Qwen 2": _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST,
    "o200k": _CASED + "|" + _UPPERCASED + r"|\p{N}{1,3}" + _REST.replace(r"[\r\n]*", r"[\r\n/]*"),
}
"""Patterns of well-known tokenizers; GPT-2's is built into the library and has no text here."""

_REACHES_OVER = re.compile(r"\S ")


def are_independent(backend: Any) -> bool:
    """Return whether the words of a text (see `WORD`) can be tokenised one by one.

    Args:
        backend: A `tokenizers.Tokenizer`.

    Returns:
        True only where every part of the tokenizer is known not to reach over a cut: the normalizer
        (none, or NFC, which never joins anything with a space), the pre-tokenizer, the model (BPE
        without dropout, which sees one match at a time), and every added token.
    """
    model = backend.model
    if type(model).__name__ != "BPE" or model.dropout is not None:
        return False
    normalizer = backend.normalizer
    if normalizer is not None and _state(normalizer).get("type") != "NFC":
        return False
    tokens = backend.get_added_tokens_decoder().values()
    return _cuts_at_spaces(_state(backend.pre_tokenizer)) and not any(map(_reaches_over, tokens))


def _cuts_at_spaces(pre_tokenizer: dict[str, Any]) -> bool:
    """Whether the parts of a pre-tokenizer are known, one of which cuts before spaces."""
    *before, last = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return False
    cuts = [_is_known_split(part) for part in before if part["type"] != "Digits"]
    return all(cuts) and (bool(cuts) or last["use_regex"])


def _is_known_split(part: dict[str, Any]) -> bool:
    return (
        part["type"] == "Split"
        and part["pattern"].get("Regex") in PATTERNS.values()
        and part["behavior"] == "Isolated"
        and not part["invert"]
    )


def _reaches_over(token: Any) -> bool:
    """Whether an added token may hold a cut, or depends on what stands right of one."""
    return token.rstrip or token.single_word or bool(_REACHES_OVER.search(token.content))


def _state(part: Any) -> dict[str, Any]:
    """A part of a tokenizer as JSON; empty for none and for one written in Python."""
    try:
        return {} if part is None else json.loads(part.__getstate__())
    except Exception:  # the library raises no narrower error for a custom part
        return {}
