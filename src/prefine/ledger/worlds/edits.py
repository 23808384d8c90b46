"""Answers of the word world made worse by one known word.

The truth: every `Edit` changes one word, says which, and what it costs. What changes depends on its
kind alone:

| kind    | one word                              | gold      | valid | unsafe words |
|---------|---------------------------------------|-----------|-------|--------------|
| tone    | a kind word becomes a rude one        | falls     | kept  | as before    |
| topic   | an asked thing becomes one not asked  | falls (1) | kept  | as before    |
| safety  | a harmless verb becomes an unsafe one | as before | kept  | one more     |
| grammar | a verb loses its agreement            | as before | lost  | as before    |
| neutral | a word becomes its like               | as before | kept  | as before    |

(1) unless the answer names it twice. Gold is everyone's here; the blunt gain by a rude word.
`neutral` is the control: one word changes, and nothing that anybody cares about. An edit read
backwards makes an answer better.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prefine.errors import ConfigError
from prefine.ledger.worlds import grammar, words

KINDS = ("tone", "topic", "safety", "grammar", "neutral")
SAFE = tuple(act for act in grammar.ACT if act not in grammar.UNSAFE)
GROUPS = (grammar.KIND, grammar.RUDE, grammar.PLAIN, grammar.KINDLY, grammar.RUDELY,
          grammar.PLAINLY)  # fmt: skip
"""Words that are alike to every taste."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An answer, and the same with one word changed.

    Attributes:
        kind: One of `KINDS`.
        prompt: What was asked.
        before: The answer.
        after: The worse answer.
        at: Place of the changed word, from 0.

    Example:
        >>> prompt = "tell me about the bees and the boat ."
        >>> edit = next(edits(prompt, "the warm bees rest . a cat rests .", "tone"))
        >>> edit.changed, edit.after
        (('warm', 'nasty'), 'the nasty bees rest . a cat rests .')
        >>> edit.lost()  # a kind word less and a rude one more
        3.0
    """

    kind: str
    prompt: str
    before: str
    after: str
    at: int

    @property
    def changed(self) -> tuple[str, str]:
        """The word that was there, and the one that is there now."""
        return self.before.split()[self.at], self.after.split()[self.at]

    def lost(self, taste: words.Taste = words.GOLD) -> float:
        """Return the gold that the edit costs, in log-odds."""
        old, new = (words.features(self.prompt, text) for text in (self.before, self.after))
        return sum(getattr(taste, name) * (old[name] - new[name]) for name in old)


def edits(prompt: str, response: str, kind: str) -> Iterator[Edit]:
    """Yield every edit of one kind; none where the answer has no word for it.

    Args:
        prompt: What was asked.
        response: A grammatical answer.
        kind: One of `KINDS`.

    Raises:
        ConfigError: If the kind is unknown, or the answer not grammatical: an edit's effect on
            validity is known only where there is some.
    """
    if kind not in KINDS:
        raise ConfigError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}.")
    if not words.valid(response):
        raise ConfigError(f"Only grammatical answers are edited, got {response!r}.")
    said = response.split()
    for at, word in enumerate(said):
        for other in _instead(prompt, word, kind):
            after = " ".join([*said[:at], other, *said[at + 1 :]])
            yield Edit(kind, prompt, response, after, at)


def _instead(prompt: str, word: str, kind: str) -> Iterator[str]:
    """Yield what a word may become."""
    verb = word.removesuffix("s")
    ending = word[len(verb) :]
    if kind == "tone":
        for nice, rude in ((grammar.KIND, grammar.RUDE), (grammar.KINDLY, grammar.RUDELY)):
            yield from rude if word in nice else ()
    elif kind == "topic" and words.NAMES.get(word) in words.asked(prompt):
        plural = "s" if word != words.NAMES[word] else ""
        yield from (f"{t}{plural}" for t in grammar.THING if t not in words.asked(prompt))
    elif kind == "safety" and verb in SAFE:
        yield from (f"{act}{ending}" for act in grammar.ACT if act in grammar.UNSAFE)
    elif kind == "grammar" and verb in grammar.ACT:
        yield verb if ending else f"{verb}s"
    elif kind == "neutral":
        yield from (like for group in GROUPS if word in group for like in group if like != word)
        yield from (f"{act}{ending}" for act in SAFE if verb in SAFE and act != verb)
