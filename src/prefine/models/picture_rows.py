"""From a view to the rows of a denoising adapter: captions and pictures encoded, each once."""

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.engine import ReferenceCache, weights_hash
from prefine.engine.reference_cache import KEY_BYTES
from prefine.errors import RecordError
from prefine.models.pictures import PictureModel, load_picture_model
from prefine.protocols import Prepared
from prefine.storage import cache_folder, content_hash

BATCH = 16
"""Captions, or pictures, that are encoded at once."""

KEPT = ("record", "cluster", "utility", "label", "prob", "tie", "margin", "weight", "rater",
        "principal", "tags")  # fmt: skip
"""Columns of a view that a row keeps."""

Row = dict[str, Any]


class Pictures(Sequence[Row]):
    """Rows whose samples and conditions are read from disk when a row is asked for.

    Args:
        rows: Rows with `caption` and `picture`, a key for each item.
        captions: Name of a condition -> what it is by key.
        pictures: Latents by key.
        encoders: Who encoded them: the same caption and picture are other numbers to others.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        captions: Mapping[str, ReferenceCache],
        pictures: ReferenceCache,
        encoders: bytes,
    ) -> None:
        self._rows, self._captions, self._pictures = rows, captions, pictures
        self._encoders = encoders

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        """Return a row, or a list of rows."""
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        row = self._rows[at]
        return row | {
            "condition": [
                {name: store[key] for name, store in self._captions.items()}
                for key in row["caption"]
            ],
            "sample": [self._pictures[key] for key in row["picture"]],
            "keys": [
                self._encoders + caption + picture
                for caption, picture in zip(row["caption"], row["picture"], strict=True)
            ],
        }


@dataclass(frozen=True)
class PictureEncoder:
    """Encodes views for a picture model.

    Attributes:
        model: Encodes captions and pictures.
        roots: Folders that pictures' paths start from; the first that has the file.
        progress: Show progress while encoding.
    """

    model: PictureModel
    roots: tuple[Path, ...] = ()
    progress: bool = False

    def __call__(self, view: Any) -> Prepared:
        """Encode a view; a row that cannot be read is set aside with the reason.

        Raises:
            RecordError: If no row is left; the reasons are in the message.
        """
        aside: Counter[str] = Counter()
        captions: dict[bytes, str] = {}
        parts: dict[bytes, Any] = {}
        rows: list[Row] = []
        for at, row in enumerate(view.rows):
            try:
                rows.append(self._row(at, row, captions, parts))
            except RecordError as error:
                aside[str(error)] += 1
        found = _Stores(self.model)
        told = found.captions(captions, self._bar("captions"))
        seen, unreadable = found.pictures(parts, self._picture, self._bar("pictures"))
        whole = [row for row in rows if not any(key in unreadable for key in row["picture"])]
        for row in rows:
            bad = next((unreadable[key] for key in row["picture"] if key in unreadable), None)
            if bad is not None:
                aside[bad] += 1
        if not whole:
            reasons = "; ".join(f"{reason}: {n}" for reason, n in aside.items()) or "it is empty"
            raise RecordError(f"No row is left to train on ({reasons}).")
        readable = len(parts) - len(unreadable)
        notes = [f"{len(captions)} captions and {readable} pictures encoded once"]
        sample = _sample(whole[0], captions)
        return Prepared(Pictures(whole, told, seen, found.identity), dict(aside), notes, sample)

    def _bar(self, what: str) -> str | None:
        return what if self.progress else None

    def _row(
        self, at: int, row: Mapping[str, Any], captions: dict[bytes, str], parts: dict[bytes, Any]
    ) -> Row:
        prompts = [_caption(json.loads(text)["messages"]) for text in row["prompts"]]
        pictures = [_only_picture(json.loads(text)) for text in row["responses"]]
        if not all(map(self.model.knows, prompts)):
            raise RecordError("a caption that is none of the model's classes")
        told = [_key(caption) for caption in prompts]
        seen = [_key(self._content(part)) for part in pictures]
        captions.update(zip(told, prompts, strict=True))
        parts.update(zip(seen, pictures, strict=True))
        items = row["items"]
        return {name: row[name] for name in KEPT} | {
            "at": at,
            "roles": [item["role"] for item in items],
            "caption": [told[item["prompt"]] for item in items],
            "picture": [seen[item["response"]] for item in items],
        }

    def picture_of(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        """Return the picture of a response."""
        return self._picture(_only_picture(messages))

    def _picture(self, part: Mapping[str, Any]) -> Any:
        """Open a picture.

        Raises:
            RecordError: If it cannot be read.
        """
        from PIL import Image, UnidentifiedImageError

        content = self._content(part)
        try:
            picture = Image.open(io.BytesIO(content))
            picture.load()
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            raise RecordError("a picture that cannot be decoded") from None
        return picture

    def _content(self, part: Mapping[str, Any]) -> bytes:
        data, uri = part.get("data"), part.get("uri")
        if isinstance(data, str):
            try:
                return base64.b64decode(data, validate=True)
            except binascii.Error:
                raise RecordError("a picture whose content is not base64") from None
        if not isinstance(uri, str):
            raise RecordError("a picture without content or path")
        if "://" in uri:
            raise RecordError("a picture at an address: download it, and name it by a path")
        for root in self.roots:
            path = (root / uri).resolve()
            if path.is_relative_to(root.resolve()) and path.is_file():
                return path.read_bytes()
        raise RecordError("a picture whose file is not there")


def encode_records(
    records: Any, source: str, model: str, *, progress: bool = False
) -> dict[str, Any]:
    """Encode every caption and picture of records, judged or not.

    Args:
        records: Any records.
        source: Where they come from; pictures' paths start there.
        model: Name of a picture model.
        progress: Show progress.

    Returns:
        `records` encoded, `encoded` in words, and `set_aside`: reason -> records.
    """
    from prefine.records.views import candidates_view

    encoder = PictureEncoder(load_picture_model(model), (root_of(source),), progress)
    made = encoder(candidates_view(records))
    aside = dict(made.set_aside)
    return {"records": len(made.dataset), "encoded": made.notes[0], "set_aside": aside}


def root_of(source: str) -> Path:
    """Return the folder that the paths of a data set's pictures start from."""
    path = Path(source)
    return path if path.is_dir() else path.parent


class _Stores:
    """Encoded captions and pictures, on disk, shared by runs of the same encoders."""

    def __init__(self, model: PictureModel) -> None:
        self.model = model
        self.folder = cache_folder()
        self.weights = content_hash([weights_hash(module) for module in model.encoders()])
        self.fields = {"family": model.family, "size": model.size}

    @property
    def identity(self) -> bytes:
        """What encoded numbers depend on, besides what was encoded."""
        return _key(json.dumps([self.weights, self.fields]))

    def captions(
        self, captions: Mapping[bytes, str], progress: str | None
    ) -> dict[str, ReferenceCache]:
        """Return a store for each condition that holds these captions."""
        first, *_ = self.model.conditions([next(iter(captions.values()))]) if captions else [{}]
        stores = {
            name: ReferenceCache(
                self.folder, self.weights, self.fields | {"condition": name}, kind="features"
            )
            for name in first
        }
        keys = [k for k in captions if any(store.missing([k]) for store in stores.values())]
        for part in _batches(keys, progress):
            found = self.model.conditions([captions[key] for key in part])
            for name, store in stores.items():
                store.add({key: one[name] for key, one in zip(part, found, strict=True)})
        return stores

    def pictures(
        self,
        parts: Mapping[bytes, Any],
        opened: Callable[[Mapping[str, Any]], Any],
        progress: str | None,
    ) -> tuple[ReferenceCache, dict[bytes, str]]:
        """Return a store that holds these latents, and why the others cannot be read."""
        store = ReferenceCache(
            self.folder, self.weights, self.fields | {"latents": True}, kind="features"
        )
        unreadable: dict[bytes, str] = {}
        for part in _batches(store.missing(parts), progress):
            pictures: dict[bytes, Any] = {}
            for key in part:
                try:
                    pictures[key] = opened(parts[key])
                except RecordError as error:
                    unreadable[key] = str(error)
            if pictures:
                latents = self.model.latents(list(pictures.values()))
                store.add(dict(zip(pictures, latents, strict=True)))
        return store, unreadable


def _batches(keys: Sequence[bytes], progress: str | None) -> Iterator[Sequence[bytes]]:
    from tqdm import tqdm

    for start in tqdm(range(0, len(keys), BATCH), desc=progress, disable=progress is None):
        yield keys[start : start + BATCH]


def _key(content: bytes | str) -> bytes:
    return bytes.fromhex(content_hash([content], length=2 * KEY_BYTES))


def _caption(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of a prompt."""
    said: list[str] = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if any(part["type"] != "text" for part in parts):
            raise RecordError("a prompt that holds more than text")
        said += [part["text"] for part in parts]
    return "\n".join(said)


def _only_picture(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one picture of a response."""
    parts = [
        part
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
    ]
    pictures = [part for part in parts if part["type"] == "image"]
    if len(pictures) != 1 or len(parts) != 1:
        raise RecordError("a response that is not one picture")
    return pictures[0]


def _sample(row: Row, captions: Mapping[bytes, str]) -> str:
    """Caption and roles of a row, for a person to check."""
    return "\n".join(
        f"{role}: a picture of {captions[key]!r}"
        for role, key in zip(row["roles"], row["caption"], strict=True)
    )
