"""Principles and opposites: mixed as asked, put before a request, and refused where one lacks."""

from pathlib import Path

import pytest

from prefine.errors import ConfigError
from prefine.recipes.principles import Principles, copies, read_principles, under
from prefine.records import Message, Part, Record, Source

TWO = """
- principle: Answer in one line.
  opposite: Answer at length.
- principle: Be polite.
  opposite: Be rude.
"""
MIXED = """
principles:
  - {principle: Answer in one line., opposite: Answer at length.}
  - {principle: Be polite., opposite: Be rude.}
constitutions:
  - [principle, opposite]
  - [opposite, principle]
  - [opposite, opposite]
"""


def read(tmp_path: Path, text: str) -> Principles:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    return read_principles(tmp_path / "p.yaml")


def test_by_default_all_stand_against_all_opposites(tmp_path: Path) -> None:
    assert read(tmp_path, TWO).texts() == [
        "1. Answer in one line.\n2. Be polite.",
        "1. Answer at length.\n2. Be rude.",
    ]


def test_constitutions_may_be_mixed_by_hand(tmp_path: Path) -> None:
    found = read(tmp_path, MIXED)
    assert found.texts() == [
        "1. Answer in one line.\n2. Be rude.",
        "1. Answer at length.\n2. Be polite.",
        "1. Answer at length.\n2. Be rude.",
    ]
    assert found.to_json()["constitutions"][0] == ["principle", "opposite"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a list of principles is expected"),
        ("[]", "a list of principles is expected"),
        ("a: [", "this is not YAML"),
        ("- Be polite.", "principle 1 must have the keys"),
        (TWO + "- principle: Rhyme.", "principle 3 has no text under `opposite`"),
        (TWO + "- {principle: Rhyme., opposite: ''}", "principle 3 has no text under `opposite`"),
        (TWO + "- {opposite: Rhyme.}", "principle 3 has no text under `principle`"),
        (TWO + "- {principle: a, opposite: b, weight: 2}", "unknown key 'weight'"),
        (TWO + "- {principle: a, opposite: ' a '}", "Principle 3 and its opposite must be two"),
        ("principles: []\nrounds: 2", "there is no key 'rounds'"),
        (MIXED + "  - [principle]", "Constitution 4 must say principle or opposite for each of 2"),
        (MIXED + "  - [principle, both]", "Constitution 4 must say"),
        (MIXED + "  - [principle, opposite]", "two different constitutions or more"),
        (MIXED + "  - principle", "must be lists of principle and opposite"),
        (MIXED.split("constitutions")[0] + "constitutions: []", "`constitutions` is empty"),
        (
            MIXED.split("constitutions")[0] + "constitutions: [[principle, principle]]",
            "two different constitutions or more",
        ),
    ],
)
def test_a_file_that_lacks_something_says_what(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "p.yaml" in str(caught.value)


def test_bytes_are_no_principles(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not YAML"):
        read_principles(tmp_path / "p.yaml")


def test_a_constitution_stands_before_the_last_request() -> None:
    record = Record(
        source=Source("s", row=0), candidates=(), tags={"topic": "a"},
        context=(Message("system", "Be."), Message("user", "Hi"), Message("assistant", "Hello"),
                 Message("user", "Say {x}.")),
    )  # fmt: skip
    found = under(record, "1. Be brief.")
    assert found is not None
    assert found.context[:3] == record.context[:3]
    assert found.context[3].text == (
        "Follow these principles in your answer:\n1. Be brief.\n\nSay {x}."
    )
    assert found.cluster == record.cluster, "it asks for the same, so no split parts them"
    assert found.tags["topic"] == "a"
    assert found.id != record.id


def test_what_ends_with_no_text_of_a_user_is_no_request() -> None:
    for context in (
        (), (Message("assistant", "Hi"),), (Message("user", (Part("image", uri="a.png"),)),),
    ):  # fmt: skip
        assert under(Record(context=context, candidates=()), "1. Be.") is None


def test_copies_are_found_by_five_words_in_a_row() -> None:
    told = "1. Answer in one short line.\n2. Be polite."
    assert copies("I will answer, in ONE short line. Yes.", told)
    assert not copies("I answer in one line, short.", told)
    assert not copies("Be polite.", told), "three words are nobody's own"
