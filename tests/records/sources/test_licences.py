"""Licences: what a data set states of itself, and never more."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from prefine.errors import ConfigError
from prefine.records import convert, load
from prefine.records.sources.licences import licence_beside, licence_in, licence_of_card

ROWS = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no"} for n in range(3)]
CARD = "---\nlanguage: en\nlicense: cc-by-4.0\n---\n# Pairs\nlicense: mit\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set as it is downloaded: a card above, the files in a folder of their own."""
    (tmp_path / "set" / "data").mkdir(parents=True)
    for name in ("train", "test"):
        write(tmp_path / "set" / "data" / f"{name}.jsonl", ROWS)
    (tmp_path / "set" / "README.md").write_text(CARD)
    return tmp_path / "set"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ({"license": "apache-2.0"}, "apache-2.0"),
        ({"license": ["mit", "cc-by-4.0"]}, "mit, cc-by-4.0"),
        ({"license": "other", "license_name": "llama3"}, "other: llama3"),
        ({"license": "other", "license_link": "LICENSE"}, "other: LICENSE"),
        ({"license": "other"}, "other"),
        ({"license": " two\n lines "}, "two lines"),
        ({"license": "Unknown"}, None),
        ({"license": ["unknown"]}, None),
        ({"license": ""}, None),
        ({"license": 4}, None),
        ({"license": {"name": "mit"}}, None),
        ({}, None),
    ],
)
def test_the_fields_of_a_card(said: dict[str, Any], licence: str | None):
    assert licence_in(said) == licence


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (CARD, "cc-by-4.0"),
        (CARD.replace("\n", "\r\n"), "cc-by-4.0"),
        ("\ufeff" + CARD, "cc-by-4.0"),
        ("---\nlicense: [mit\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("---\n- license\n---\n", None),
        ("# Pairs\n---\nlicense: mit\n---\n", None),
        ("Pairs\nlicense: mit\n---\nmore\n", None),
        ("# Pairs\n- Licence: MIT\n", None),
        ("", None),
    ],
    ids=[
        "stated",
        "Windows",
        "marked",
        "torn",
        "open",
        "a list",
        "later",
        "unopened",
        "prose",
        "empty",
    ],
)
def test_only_the_front_matter_counts(card: str, licence: str | None):
    assert licence_of_card(card) == licence


def test_a_folder_has_the_licence_of_its_card(folder: Path):
    records = load(folder)
    assert records.licences == {"cc-by-4.0": 6}
    assert records[0].source.license == "cc-by-4.0"


def test_a_file_has_the_licence_of_the_card_beside_it_and_of_none_further_up(folder: Path):
    file = folder / "data" / "train.jsonl"
    assert load(file).licences == {"not stated": 3}
    (folder / "data" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load(file).licences == {"mit": 3}


def test_the_nearest_card_counts_and_none_above_what_was_asked_for(folder: Path):
    (folder.parent / "README.md").write_text("---\nlicense: gpl-3.0\n---\n")
    other = folder / "other"
    other.mkdir()
    write(other / "more.jsonl", ROWS)
    (other / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load(folder).licences == {"cc-by-4.0": 6, "mit": 3}
    (folder / "README.md").unlink()
    assert load(folder).licences == {"not stated": 6, "mit": 3}
    assert licence_beside(other / "more.jsonl", other) == "mit"


@pytest.mark.parametrize(
    ("name", "said", "licence"),
    [
        ("dataset_info.json", {"license": "mit", "features": {}}, "mit"),
        ("dataset_info.json", {"license": ""}, None),
        ("dataset_infos.json", {"easy": {"license": "mit"}, "hard": {"license": "mit"}}, "mit"),
        ("dataset_infos.json", {"easy": {"license": "mit"}, "hard": {"license": "gpl"}}, None),
        ("dataset_infos.json", [1], None),
    ],
    ids=["stated", "empty", "of all", "of some", "no object"],
)
def test_dataset_info_counts_too(tmp_path: Path, name: str, said: Any, licence: str | None):
    data = write(tmp_path / "pairs.jsonl", ROWS)
    (tmp_path / name).write_text(json.dumps(said))
    assert load(data).licences == {licence or "not stated": 3}


def test_torn_files_beside_the_data_stop_nothing(tmp_path: Path):
    data = write(tmp_path / "pairs.jsonl", ROWS)
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    (tmp_path / "dataset_info.json").write_text("{")
    assert load(data).licences == {"not stated": 3}


def test_a_data_set_in_memory_says_it_in_its_info():
    silent = datasets.Dataset.from_list(ROWS)
    assert load(silent).licences == {"not stated": 3}
    silent.info.license = "cc0-1.0"
    assert load(silent).licences == {"cc0-1.0": 3}
    assert load(datasets.DatasetDict(train=silent)).licences == {"cc0-1.0": 3}


def test_an_option_names_what_is_not_stated_or_stated_wrongly(folder: Path):
    assert load(ROWS, license="mit").licences == {"mit": 3}
    assert load(folder, license="mit").licences == {"mit": 6}
    with pytest.raises(ConfigError, match="`license` is empty"):
        load(ROWS, license=" ")


def test_what_a_record_says_of_itself_stands(folder: Path, tmp_path: Path):
    """Files of several sources keep what each of them named."""
    convert(folder, tmp_path / "own.jsonl")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load(tmp_path / "own.jsonl").licences == {"cc-by-4.0": 6}
    assert load(tmp_path / "own.jsonl", license="gpl-3.0").licences == {"cc-by-4.0": 6}


def test_rows_that_are_joined_keep_their_licence(tmp_path: Path):
    rating = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}
    rows = [{"prompt": "c#", "response": text, **rating} for text in ("One.", "Two.")]
    records = load(rows, license="cc-by-4.0")
    assert (records.format, records.licences) == ("helpsteer", {"cc-by-4.0": 1})


@pytest.mark.parametrize(
    "name", ["hh_helpful/helpful-base/train.jsonl.gz", "llmbar/LLMBar/Natural/dataset.json.gz"]
)
def test_a_licence_in_the_prose_of_a_real_readme_is_for_people_to_read(shared_data: Any, name: str):
    """These READMEs say `Licence: MIT (...)`; others name three licences in one such sentence."""
    file = shared_data(name)
    records = load(file)
    assert "Licence: MIT" in shared_data(name.split("/")[0] + "/README.md").read_text()
    assert records.licences == {"not stated": len(records)}
    assert load(file, license="MIT").licences == {"MIT": len(records)}
