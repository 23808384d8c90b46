"""Paths of reading and writing, laid and followed."""

import pytest

from prefine.errors import ConfigError, RecordError
from prefine.records import Message
from prefine.records.streams import Trajectory, pieces, revealed, wait_k

SOURCE = [" a", " b", " c", " d"]


def said(k: int, target: list[str], source: list[str] = SOURCE) -> str:
    return "".join(message.text for message in wait_k(source, target, k, "<r>"))


@pytest.mark.parametrize(
    ("k", "words", "expected"),
    [
        (1, 4, "<r> a A<r> b B<r> c C<r> d\n D"),
        (2, 4, "<r> a<r> b A<r> c B<r> d\n C D"),
        (9, 4, "<r> a<r> b<r> c<r> d\n A B C D"),
        (1, 6, "<r> a A<r> b B<r> c C<r> d\n D E F"),
        (1, 2, "<r> a A<r> b B<r> c<r> d\n"),
    ],
)
def test_wait_k(k: int, words: int, expected: str) -> None:
    target = [" A", " B", " C", " D", " E", " F"][:words]
    assert said(k, target) == expected
    # g(t) = min(k + t - 1, |x|)
    path = Trajectory.of(wait_k(SOURCE, target, k, "<r>"), "<r>")
    assert path.read == tuple(min(k + t, 4) for t in range(words))
    assert path.source == 4


def test_it_ends_with_what_the_model_writes_even_if_that_is_nothing() -> None:
    path = wait_k(SOURCE, [" A"], 1, "<r>")
    assert path[-1] == Message("assistant", "")
    assert revealed(path) == [" a", " b", " c", " d\n"]


def test_characters_need_no_spaces() -> None:
    assert pieces("我 是", "character") == ["我", "是"]
    path = wait_k(pieces("我是", "character"), pieces("I am", "word"), 1, "<r>")
    assert "".join(message.text for message in path) == "<r>我 I<r>是\n am"
    assert Trajectory.of(path, "<r>", "word").read == (1, 2)
    assert Trajectory.of(path, "<r>", "character").read == (1, 2, 2)
    with pytest.raises(ConfigError, match="word or character"):
        pieces("a", "letter")  # type: ignore[arg-type]


def test_a_word_that_is_cut_by_reading_was_written_with_its_end() -> None:
    path = (
        Message("assistant", "<r>"), Message("user", " a"),
        Message("assistant", " hou<r>"), Message("user", " b"), Message("assistant", "se"),
    )  # fmt: skip
    assert Trajectory.of(path, "<r>").read == (2,)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([("assistant", "a b")], "nothing is read"),
        ([("assistant", "<r>")], "nothing is revealed after"),
        ([("assistant", "<r>"), ("assistant", "a")], "nothing is revealed after"),
        ([("assistant", "<r><r>"), ("user", "x")], "nothing is revealed after"),
        ([("assistant", "<r>b"), ("user", "x")], "nothing is revealed after"),
        ([("user", "x"), ("assistant", "a")], "does not follow one"),
        ([("assistant", "<r>"), ("user", "x"), ("user", "y")], "does not follow one"),
        ([("assistant", "<r>"), ("user", "x<r>")], "does not follow one"),
        ([("assistant", "<r>"), ("tool", "x")], "what a model writes and a user reveals"),
    ],
)
def test_what_is_no_trajectory(messages: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        Trajectory.of([Message(role, text) for role, text in messages], "<r>")
