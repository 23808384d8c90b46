"""Encoding in blocks gives the rows, and the counts, of encoding one item at a time."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.adapters.plain_text import PlainEncoder
from tests.adapters.test_text import assistant, prompt, user, view
from tests.adapters.tokenizers_for_tests import SENTENCES, TOKENIZERS, tokenizer

import prefine.adapters.text as text_module
from prefine.adapters import token_ids
from prefine.adapters.templates import BUILT_IN, ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.adapters.token_ids import TokenIds

pytestmark = pytest.mark.usefixtures("word_by_word")

WORDS = " ".join(SENTENCES).split(" ")


def said(rng: random.Random, most: int = 12) -> str:
    """Words; sometimes with spaces at either end, where merges cross the border."""
    text = " ".join(rng.choices(WORDS, k=rng.randint(0, most)))
    return rng.choice(["", "", " ", "\n"]) + text + rng.choice(["", "", "", " ", "\n", "\n\n"])


def made_up(rng: random.Random) -> tuple[Any, list[Any]]:
    """A prompt and two to four responses: raw or chat, of one or more turns, some unusable."""
    kind = rng.choice(["raw", "raw", "chat", "turns", "hostile", "bos", "silent", "revealed"])
    count = rng.randint(2, 4)
    if kind == "raw":
        return prompt(user(said(rng)), form="text"), [[assistant(said(rng))] for _ in range(count)]
    if kind == "bos":
        start = prompt(user("<|bos|><|bos|>" + said(rng)), form="text")
        return start, [[assistant(said(rng))] for _ in range(count)]
    if kind == "revealed":
        start = prompt(user(said(rng)), form="text")
        turns = [assistant(said(rng)), user(said(rng)), assistant(said(rng))]
        return start, [turns, [*turns[:2], assistant("")]]
    tools = [{"type": "function", "function": {"name": "add"}}] if rng.random() < 0.3 else None
    start = prompt(user(said(rng)), assistant(said(rng)), user(said(rng)), tools=tools)
    if kind == "turns":
        turns = [
            assistant(said(rng)),
            user(said(rng)),
            assistant(said(rng), loss=rng.random() < 0.5),
        ]
        return start, [[*turns[:2], assistant(said(rng))], turns]
    if kind == "hostile":
        return start, [[assistant(said(rng))], [assistant(said(rng) + "<|im_end|>")]]
    if kind == "silent":
        return start, [[assistant("unheard", loss=False)], [assistant(said(rng))]]
    return start, [[assistant(said(rng))] for _ in range(count)]


def as_lists(row: dict[str, Any]) -> dict[str, Any]:
    parts = ("prompt", "response", "mask")
    return {"at": row["at"], "roles": row["roles"]} | {
        name: [[int(value) for value in part] for part in row[name]] for name in parts
    }


@pytest.mark.parametrize("template", ["auto", *BUILT_IN])
@pytest.mark.parametrize("name", sorted(TOKENIZERS))
@pytest.mark.parametrize(
    "options",
    [{"max_length": None}, {"max_length": 60}, {"max_length": 60, "truncate": "drop"}],
    ids=["whole", "cut", "drop"],
)
def test_blocks_and_single_items_agree(
    monkeypatch: pytest.MonkeyPatch, name: str, template: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(text_module, "BLOCK_ROWS", 7)
    rng = random.Random(f"{name}/{template}")
    data = view(*(made_up(rng) for _ in range(60)))
    chat = ChatTemplate.choose(tokenizer(name), template)
    encoder = TextEncoder(tokenizer(name), chat, **options)
    plain = PlainEncoder(encoder)
    expected = list(plain.rows(data))
    assert [as_lists(row) for row in encoder.rows(data)] == expected
    assert expected
    assert encoder.counts == plain.counts


def test_the_rows_met_every_case() -> None:
    """What the test above compares would prove little if nothing merged or was set aside."""
    counts: Counter[str] = Counter()
    for name in TOKENIZERS:
        rng = random.Random(f"{name}/dialogue")
        data = view(*(made_up(rng) for _ in range(60)))
        chat = ChatTemplate.choose(tokenizer(name), "dialogue")
        encoder = TextEncoder(tokenizer(name), chat, max_length=60)
        list(encoder.rows(data))
        counts += encoder.counts
    for part in ("merged across", "more than one BOS", "prompt cut", "control token", "empty"):
        assert any(part in reason for reason in counts), (part, counts)
    assert any("nothing of the response" in reason for reason in counts)
    assert any("alone fills" in reason for reason in counts)


class Counted:
    """Counts the texts that reach a tokenizer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.texts = 0, Counter[str]()
        encode: Callable[..., Any] = TokenIds._encode

        def counting(ids: TokenIds, texts: list[str]) -> Any:
            self.calls += 1
            self.texts.update(texts)
            return encode(ids, texts)

        monkeypatch.setattr(TokenIds, "_encode", counting)


def test_a_prompt_is_tokenised_once_for_all_its_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer("metaspace")
    counted = Counted(monkeypatch)
    answers = ["dog", "fox", "ways", "code"]
    rows = [
        (prompt(user("the" * n + "over"), form="text"), [[assistant(f" {a}")] for a in answers])
        for n in range(20)
    ]
    encoder = TextEncoder(made, ChatTemplate.choose(made))
    assert len(list(encoder.rows(view(*rows)))) == 20
    assert counted.calls == 1
    assert set(counted.texts.values()) == {1}
    assert len(counted.texts) == 20 * (1 + 4)


def test_a_word_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer("GPT-2")
    counted = Counted(monkeypatch)
    monkeypatch.setattr(text_module, "BLOCK_ROWS", 3)
    rows = [
        (prompt(user("one two"), form="text"), [[assistant(" one")], [assistant(" two")]])
        for _ in range(20)
    ]
    encoder = TextEncoder(made, ChatTemplate.choose(made))
    assert len(list(encoder.rows(view(*rows)))) == 20
    assert counted.texts == {"one": 1, " two": 1, " one": 1}


def test_texts_of_mostly_new_words_are_encoded_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_ids, "MOST_NEW", 0.2)
    made = tokenizer("GPT-2")
    counted = Counted(monkeypatch)
    ids = TokenIds(made)
    new, more = "a b c d", "a b " * 20
    ids.learn([[new]])
    assert counted.texts == {new: 1, "a": 1, " b": 1, " c": 1, " d": 1}
    ids.learn([[more, more + "g"]])
    for text in (more, more + "g"):
        assert ids[text].tolist() == made(text, add_special_tokens=False)["input_ids"]
    assert counted.texts - Counter([new, "a", " b", " c", " d"]) == {" a": 1, " ": 1, " g": 1}


def test_words_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_ids, "KNOWN_WORDS", 10)
    made = tokenizer("GPT-2")
    ids = TokenIds(made)
    for n in range(30):
        texts = [f"word {n} and {n + 1}", "x" * 500]
        ids.learn([texts[:1], texts[1:]])
        for text in texts:
            assert ids[text].tolist() == made(text, add_special_tokens=False)["input_ids"]
        assert len(ids._words) <= 10 + 4
        assert all(len(word) <= token_ids.LONGEST_WORD for word in ids._words)


def test_settings_of_another_user_of_the_tokenizer_change_nothing() -> None:
    made = TOKENIZERS["metaspace"]()
    ids = TokenIds(made)
    made(["a", "a longer text"], padding=True, truncation=True, max_length=3)
    text = "The quick brown fox <|im_end|>"
    expected = tokenizer("metaspace")(text, add_special_tokens=False)["input_ids"]
    assert ids[text].tolist() == expected
