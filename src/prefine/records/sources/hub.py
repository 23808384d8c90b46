# pyright: basic
"""Data sets of the Hub. Missing, gated and offline are three different errors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefine.errors import HubDataError, HubGatedError, HubMissingError, HubOfflineError
from prefine.records.sources.licences import CARD, licence_in, licence_of_card
from prefine.records.sources.memory import dataset_rows, memory_licence, one_split
from prefine.records.sources.row import Row
from prefine.records.sources.table_rows import plain


def hub_rows(
    name: str, *, config: str | None, split: str | None, revision: str | None
) -> tuple[Iterator[Row], str | None]:
    """Return the rows of a Hub data set and the licence that its card names.

    Both come from the local cache where the Hub cannot be reached.

    Raises:
        HubMissingError: If there is no such data set, revision, configuration or split.
        HubGatedError: If this account may not read it.
        HubOfflineError: If the Hub cannot be reached and nothing is cached.
    """
    unreachable, card = _check(name, revision)
    found = _load(name, config, split, revision, unreachable)
    named = licence_in(card) or memory_licence(found)
    if named is None and unreachable is not None:
        named = _cached_licence(name, revision)
    rows = dataset_rows(found)
    full = f"{name}@{revision}" if revision else name
    return (Row(full, at, None, "memory", plain(row)) for at, row in enumerate(rows)), named


def _check(name: str, revision: str | None) -> tuple[Exception | None, Mapping[str, Any]]:
    """Ask the Hub whether the data set can be read.

    Returns:
        Why the Hub could not be asked, or None; and the fields of the data card.
    """
    import huggingface_hub
    from huggingface_hub import errors

    api = huggingface_hub.HfApi()
    try:
        api.auth_check(name, repo_type="dataset")
        info = api.dataset_info(name, revision=revision)
    except errors.GatedRepoError:  # before RepositoryNotFoundError, of which it is a kind
        raise HubGatedError(
            f"The Hub data set {name} is gated, and this account has not been let in. Accept its "
            "terms on its page and log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise HubMissingError(f"The Hub data set {name} has no revision {revision!r}.") from None
    except errors.RepositoryNotFoundError:
        raise HubMissingError(
            f"The Hub has no data set {name}, or it is private and this account may not see it. "
            "Check the name; a file of that path does not exist either."
        ) from None
    except errors.HFValidationError as error:
        raise HubMissingError(f"{name} is no name of a Hub data set: {error}") from None
    except Exception as error:  # offline, no route, time-out: each HTTP library has its own
        return error, {}
    card = getattr(info, "card_data", None)
    return None, {} if card is None else card.to_dict()


def _cached_licence(name: str, revision: str | None) -> str | None:
    """The licence in a card that was downloaded with the data."""
    import huggingface_hub

    path = huggingface_hub.try_to_load_from_cache(
        name, CARD, repo_type="dataset", revision=revision
    )
    if not isinstance(path, str):
        return None
    try:
        return licence_of_card(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        return None


def _load(
    name: str,
    config: str | None,
    split: str | None,
    revision: str | None,
    unreachable: Exception | None,
) -> Any:
    import datasets

    try:
        found: Any = datasets.load_dataset(name, config, revision=revision)
    except Exception as error:
        if unreachable is not None:
            raise HubOfflineError(
                f"The Hub data set {name} is not in the local cache, and the Hub cannot be "
                f"reached ({unreachable}). Connect, unset HF_HUB_OFFLINE, or load a file."
            ) from None
        if "gated" in str(error):
            raise HubGatedError(f"The Hub data set {name} is gated: {error}") from None
        if isinstance(error, ValueError):  # unknown or unnamed configuration, unknown split
            raise HubMissingError(f"The Hub data set {name}: {error}") from None
        raise HubDataError(
            f"The Hub data set {name} cannot be read by the `datasets` library ({error}). "
            "Download its files and load them by path."
        ) from None
    if split is not None and split not in found:
        raise HubMissingError(
            f"The Hub data set {name} has no split {split!r}; it has {', '.join(map(str, found))}."
        )
    return one_split(dict(found), split, f"The Hub data set {name}")
