"""`<script>` planted in every text field of records and models stays text wherever it is shown."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from tests.report.pages import write_everything
from tests.report.planted import (
    ATTACKS,
    CARD,
    CLASSES,
    FIXED,
    IN_A_NAME,
    PAGE,
    PAYLOAD,
    Elements,
    Planter,
    full_record,
    misdeeds,
    text_fields,
)

from prefine.errors import RecordError
from prefine.records import Record

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> dict[str, Path]:
    return write_everything(tmp_path_factory.mktemp("planted"), tiny_llama, tiny_tokenizer)


def test_something_is_planted_in_every_text_field_of_a_record():
    """A new field of the schema fails here until `full_record` uses it."""
    planter = Planter(PAYLOAD, set())
    record = planter.record(full_record(0))
    assert {(cls.__name__, name) for cls, name in text_fields() - planter.touched} == set()
    assert Record.from_json(record).to_json() == record, "nothing planted is lost or changed"


@pytest.mark.parametrize(
    ("cls", "name"), sorted(FIXED, key=str), ids=lambda value: getattr(value, "__name__", value)
)
def test_fields_with_a_choice_of_words_refuse_any_other(cls: type, name: str):
    assert cls in CLASSES
    record = full_record(0)

    def replaced(value: Any, within: type) -> Any:
        from tests.report.planted import INNER

        if isinstance(value, list):
            return [replaced(each, within) for each in value]
        if not isinstance(value, Mapping):
            return value
        inner = {
            key: replaced(each, INNER[within, key]) if (within, key) in INNER else each
            for key, each in value.items()
        }
        return inner | ({name: PAYLOAD} if within is cls else {})

    with pytest.raises(RecordError):
        Record.from_json(replaced(record, Record))


def test_pages_show_what_is_planted_and_do_nothing_else(written: dict[str, Path]):
    pages = {name: path for name, path in written.items() if path.suffix == ".html"}
    assert len(pages) == 7
    for name, path in pages.items():
        page = path.read_text(encoding="utf-8")
        assert misdeeds(page, PAGE) == [], name
        found = Elements(page)
        for attack in ATTACKS if name != "comparison" else [IN_A_NAME]:
            assert " ".join(attack.split()) in found.text, (name, attack)
        assert "1337" not in found.text, "nothing planted is a template"


def test_cards_show_what_is_planted_and_do_nothing_else(written: dict[str, Path]):
    """Rendered as the Hub does, with raw HTML, and with links of every kind."""
    cards = {name: path for name, path in written.items() if path.suffix == ".md"}
    assert len(cards) == 5
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    markdown.validateLink = lambda url: True  # type: ignore[method-assign]
    for name, path in cards.items():
        _, header, text = path.read_text(encoding="utf-8").split("---\n", 2)
        said = yaml.safe_load(header)
        assert set(said) <= {"library_name", "model-index", "pipeline_tag", "tags"}, name
        page = markdown.render(text)
        assert misdeeds(page, CARD) == [], name
        found = Elements(page)
        assert " ".join(IN_A_NAME.split()) in found.text, name
        assert "1337" not in found.text, name
    formula = Elements(markdown.render(cards["card of text"].read_text(encoding="utf-8"))).text
    assert " ".join(ATTACKS[0].split()) in formula
