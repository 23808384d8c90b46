"""Rewards of the word world: the truth, and a coin."""

from collections.abc import Sequence

from prefine.ledger.worlds import words
from prefine.storage import json_hash


def gold(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Return the true reward of each answer."""
    return [words.gold(*each) for each in zip(prompts, completions, strict=True)]


def coin(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Return -2 or 2 for each answer, by nothing but chance; always the same for the same text."""
    texts = [json_hash(list(each)) for each in zip(prompts, completions, strict=True)]
    return [4.0 * (int(text, 16) % 2) - 2.0 for text in texts]
