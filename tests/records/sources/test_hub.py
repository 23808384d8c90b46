"""The Hub: missing, gated and offline are three errors. No network: the client is replaced."""

from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
from huggingface_hub import errors

from prefine.errors import (
    ConfigError,
    HubDataError,
    HubGatedError,
    HubMissingError,
    HubOfflineError,
)
from prefine.records import load

ROWS = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no"} for n in range(3)]


def http_error(kind: type[Exception]) -> Exception:
    """Make one of the client's own exceptions, which want the server's response."""
    try:
        return kind("said by the server", response=SimpleNamespace(headers={}, request=None))
    except TypeError:
        return kind("said by the server")


class Api:
    """Answers as `HfApi` does: with nothing, or with an exception."""

    access: Exception | None = None
    info: Exception | None = None
    card: huggingface_hub.DatasetCardData | None = None

    def auth_check(self, repo_id: str, *, repo_type: str) -> None:
        assert repo_type == "dataset"
        if self.access is not None:
            raise self.access

    def dataset_info(self, repo_id: str, *, revision: str | None) -> SimpleNamespace:
        if self.info is not None:
            raise self.info
        return SimpleNamespace(card_data=self.card)


@pytest.fixture
def hub(monkeypatch):
    """Return `hub(access=..., info=..., data=..., card=...)`: what the Hub answers; its calls."""

    def answer(access=None, info=None, data=None, card=None):
        calls = []

        def load_dataset(name, config=None, *, revision=None):
            calls.append((name, config, revision))
            if isinstance(data, Exception):
                raise data
            return data

        api = type("Answering", (Api,), {"access": access, "info": info, "card": card})
        monkeypatch.setattr(huggingface_hub, "HfApi", api)
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return answer


def splits(**named):
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows) for name, rows in named.items()}
    )


def test_a_data_set(hub):
    calls = hub(data=splits(train=ROWS))
    records = load("org/name@v1.0", config="easy")
    assert calls == [("org/name", "easy", "v1.0")]
    assert (len(records), records.source) == (3, "org/name@v1.0")
    assert records[0].source.name == "org/name@v1.0"
    assert records[1].source.row == 1


def test_the_licence_of_the_card(hub):
    card = huggingface_hub.DatasetCardData(license="cc-by-4.0", language="en")
    hub(data=splits(train=ROWS), card=card)
    assert load("org/name").licences == {"cc-by-4.0": 3}
    assert load("org/name", license="mit").licences == {"mit": 3}
    hub(data=splits(train=ROWS), card=huggingface_hub.DatasetCardData(license="unknown"))
    assert load("org/name").licences == {"not stated": 3}
    hub(data=splits(train=ROWS))
    assert load("org/name").licences == {"not stated": 3}


def test_the_licence_in_the_cached_card_when_the_hub_is_away(hub, monkeypatch, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n")
    asked = []

    def cached(name, file, *, repo_type, revision):
        asked.append((name, file, repo_type, revision))
        return str(card)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    hub(access=ConnectionError("no route"), data=splits(train=ROWS))
    assert load("org/name@v1.0").licences == {"mit": 3}
    assert asked == [("org/name", "README.md", "dataset", "v1.0")]
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    assert load("org/name").licences == {"not stated": 3}


def test_revision_twice(hub):
    calls = hub(data=splits(train=ROWS))
    load("org/name", revision="abc")
    load("org/name@abc", revision="abc")
    assert [call[2] for call in calls] == ["abc", "abc"]
    with pytest.raises(ConfigError, match="names revision abc, but `revision` is def"):
        load("org/name@abc", revision="def")


def test_splits(hub):
    hub(data=splits(train=ROWS, test=ROWS[:1]))
    assert len(load("org/name", split="test")) == 1
    assert load("org/name", split="test")[0].source.split == "test"
    with pytest.raises(ConfigError, match="has the splits train, test: name one with `split`"):
        load("org/name")
    with pytest.raises(HubMissingError, match="has no split 'dev'; it has train, test"):
        load("org/name", split="dev")


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        ({"access": errors.RepositoryNotFoundError}, HubMissingError, "has no data set org/name"),
        ({"access": errors.GatedRepoError}, HubGatedError, "Accept its terms on its page"),
        ({"info": errors.RevisionNotFoundError}, HubMissingError, "has no revision 'v9'"),
        ({"access": errors.HFValidationError}, HubMissingError, "is no name of a Hub data set"),
    ],
)
def test_what_the_hub_refuses(hub, answer, expected, said):
    calls = hub(**{name: http_error(kind) for name, kind in answer.items()})
    with pytest.raises(expected, match=said) as caught:
        load("org/name@v9")
    assert type(caught.value) is expected
    assert calls == []


@pytest.mark.parametrize(
    "problem",
    [
        errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"),
        ConnectionError("no route"),
        TimeoutError("too slow"),
        http_error(errors.HfHubHTTPError),
    ],
)
def test_offline(hub, problem):
    hub(access=problem, data=ConnectionError("not cached"))
    with pytest.raises(HubOfflineError, match="is not in the local cache"):
        load("org/name")
    hub(access=problem, data=splits(train=ROWS))
    assert len(load("org/name")) == 3  # from the cache


def test_offline_for_real():
    """The switch of the environment (tests run with HF_HUB_OFFLINE=1), nothing replaced."""
    with pytest.raises(HubOfflineError, match="HF_HUB_OFFLINE"):
        load("no-such-org/no-such-name")


def test_what_the_datasets_library_cannot_read(hub):
    hub(data=ValueError("BuilderConfig 'x' not found. Available: ['easy', 'hard']"))
    with pytest.raises(HubMissingError, match="Available"):
        load("org/name", config="x")
    hub(data=RuntimeError("Dataset scripts are no longer supported"))
    with pytest.raises(HubDataError, match="Download its files and load them by path"):
        load("org/name")


def test_a_path_is_no_hub_name(tmp_path, monkeypatch, hub):
    hub(data=splits(train=ROWS))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "name").mkdir()
    (tmp_path / "org" / "name" / "a.csv").write_text("prompt,chosen,rejected\na,b,c\n")
    assert len(load("org/name")) == 1
