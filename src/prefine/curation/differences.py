"""What was changed between two texts, word by word, as edits that can be applied again."""

import re
from collections.abc import Sequence

from prefine.curation.rules import Edit

WORD = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
"""A word or a sign, with the white space before it."""


def differences(old: str, new: str, kind: str) -> tuple[list[Edit], float]:
    """Return the edits between two texts, and the share of words that both have.

    Words are paired by the alignment that training finds edited tokens with, so a run of words
    without a partner is one edit. Time and memory grow with the product of their numbers.

    Args:
        old: What stood there.
        new: What stands there now.
        kind: Of every edit.

    Returns:
        The edits in order, and the share of paired words in the text that has the smaller share.

    Example:
        >>> edits, kept = differences("It is 5 mg.", "It is 50 mg.", "model")
        >>> [(edit.start, edit.old, edit.new) for edit in edits], kept
        ([(5, ' 5', ' 50')], 0.8)
    """
    from prefine.adapters.alignment import edited

    before, after = (WORD.findall(text) for text in (old, new))
    numbers = {word: at for at, word in enumerate(dict.fromkeys([*before, *after]))}
    gone, came = edited(*([numbers[word] for word in words] for words in (before, after)))
    kept = min(1 - flags.mean() if len(flags) else 0.0 for flags in (gone, came))
    cuts, puts = gone.tolist(), came.tolist()
    edits: list[Edit] = []
    start = i = j = 0
    while i < len(before) or j < len(after):
        cut, put = _run(before, cuts, i), _run(after, puts, j)
        if cut or put:
            edits.append(Edit(kind, start, "".join(cut), "".join(put)))
        i, j = i + len(cut), j + len(put)
        start += len("".join(cut))
        if i < len(before):  # a word that both have
            start += len(before[i])
        i, j = i + 1, j + 1
    return edits, float(kept)


def _run(words: Sequence[str], changed: Sequence[bool], start: int) -> Sequence[str]:
    """Return the words from a start on that were changed."""
    end = start
    while end < len(words) and changed[end]:
        end += 1
    return words[start:end]
