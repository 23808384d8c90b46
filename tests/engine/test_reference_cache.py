"""Stored reference scores: found by what decides them, never mixed up, never damaged in silence."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefine.adapters import CausalLM
from prefine.engine import ReferenceCache, item_key, weights_hash
from prefine.records import load
from prefine.training.filling import item_keys
from prefine.training.reference import CachedReference, choose_reference

ROWS = [
    {"prompt": f"{n} is ", "chosen": "even " * (n % 3 + 1), "rejected": "odd"} for n in range(6)
]


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


# --- Keys ----------------------------------------------------------------------------------------


def test_a_key_is_of_tokens_and_mask_alone() -> None:
    key = item_key([1, 2], [3, 4], [1, 1])
    assert key == item_key(np.array([1, 2], dtype=np.int32), np.array([3, 4]), [True, True])
    others = [
        item_key([1], [2, 3, 4], [1, 1, 1]),
        item_key([1, 2], [4, 3], [1, 1]),
        item_key([1, 2], [3, 4], [1, 0]),
        item_key([2, 1], [3, 4], [1, 1]),
    ]
    assert len({key, *others}) == 5


def encode(tokenizer: Any, rows: Any = ROWS, **options: Any) -> list[list[bytes]]:
    view = load(rows, format="trl_preference").pairs()
    return [item_keys(row) for row in CausalLM(tokenizer, **options).prepare(view).dataset]


def test_keys_follow_data_template_and_truncation(tiny_tokenizer: Any) -> None:
    chat = [
        {
            "prompt": [{"role": "user", "content": "what follows on one and two and three?"}],
            "chosen": [{"role": "assistant", "content": "four"}],
            "rejected": [{"role": "assistant", "content": "five"}],
        }
    ]
    base = encode(tiny_tokenizer, chat)
    assert base == encode(tiny_tokenizer, chat, max_length=900), "an idle limit changes nothing"
    weighted = [{**chat[0], "weight": 2.0}]
    assert base == encode(tiny_tokenizer, weighted), "a weight changes no score"
    for changed in (
        encode(tiny_tokenizer, chat, template="dialogue"),
        encode(tiny_tokenizer, chat, max_length=40),
        encode(tiny_tokenizer, [{**chat[0], "prompt": [{"role": "user", "content": "?"}]}]),
    ):
        assert not set(base[0]) & set(changed[0])


def test_a_hash_of_weights_notices_every_one_of_them(tiny_llama: Callable[..., Any]) -> None:
    model = tiny_llama()
    start = weights_hash(model)
    assert weights_hash(tiny_llama()) == start
    assert weights_hash(tiny_llama(seed=1)) != start
    assert weights_hash(tiny_llama().double()) != start
    with torch.no_grad():
        list(model.parameters())[-1].view(-1)[-1] += 1e-6
    assert weights_hash(model) != start


def test_a_hash_of_weights_reads_odd_tensors() -> None:
    module = torch.nn.Module()
    module.register_buffer("empty", torch.empty(0))
    module.register_buffer("flag", torch.tensor(True))
    module.register_buffer("narrow", torch.zeros(2, 3, dtype=torch.bfloat16).t())
    assert len(weights_hash(module)) == 16


# --- The store -----------------------------------------------------------------------------------

KEYS = [item_key([n], [n + 1], [1]) for n in range(5)]


def test_two_runs_share_a_store(tmp_path: Path) -> None:
    one, two = (ReferenceCache(tmp_path, "w", {"adapter": "a"}) for _ in range(2))
    one.add({KEYS[0]: -0.1, KEYS[1]: -1e-300})
    two.add({KEYS[2]: -3.5})
    again = ReferenceCache(tmp_path, "w", {"adapter": "a"})
    assert [again[key] for key in KEYS[:3]] == [-0.1, -1e-300, -3.5]
    assert again.missing([KEYS[4], KEYS[0], KEYS[3], KEYS[4]]) == [KEYS[4], KEYS[3]]


@pytest.mark.parametrize(
    ("weights", "fingerprint"),
    [
        ("other", {"adapter": "a", "template": "t"}),
        ("w", {"adapter": "b", "template": "t"}),
        ("w", {"adapter": "a", "template": "u"}),
    ],
)
def test_another_scorer_has_another_store(
    tmp_path: Path, weights: str, fingerprint: dict[str, str]
) -> None:
    cache = ReferenceCache(tmp_path, "w", {"adapter": "a", "template": "t"})
    cache.add({KEYS[0]: -1.0})
    other = ReferenceCache(tmp_path, weights, fingerprint)
    assert KEYS[0] not in other
    assert other.key != cache.key


def test_nothing_to_add_writes_nothing(tmp_path: Path) -> None:
    ReferenceCache(tmp_path, "w", {}).add({})
    assert shards(tmp_path) == []


def flip(data: bytes) -> bytes:
    """Change one bit of the last score."""
    return data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda data: data[:-8], lambda data: b"", lambda data: b"x" * len(data)],
    ids=["a flipped bit", "cut short", "empty", "rubbish"],
)
def test_a_damaged_file_is_not_used(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    cache = ReferenceCache(tmp_path, "w", {})
    cache.add({KEYS[0]: -1.0, KEYS[1]: -2.0})
    (whole,) = shards(tmp_path)
    cache.add({KEYS[2]: -3.0})
    good = whole.read_bytes()
    whole.write_bytes(damage(good))
    with caplog.at_level(logging.WARNING):
        again = ReferenceCache(tmp_path, "w", {})
    assert again.missing(KEYS[:3]) == KEYS[:2], "what stands in other files is kept"
    assert f"{whole} is damaged" in caplog.text
    again.add({KEYS[0]: -1.0, KEYS[1]: -2.0})
    assert whole.read_bytes() == good, "the same scores mend the file"


# --- Filled by a model ---------------------------------------------------------------------------


@pytest.fixture
def reference(
    tiny_tokenizer: Any, tiny_llama: Callable[..., Any], monkeypatch: Any, tmp_path: Path
) -> Callable[..., CachedReference]:
    """Return `fill(**config)`: the cached scores of a tiny model over `ROWS`, as a run has them."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    adapter = CausalLM(tiny_tokenizer)
    rows = adapter.prepare(load(ROWS, format="trl_preference").pairs()).dataset

    def fill(**config: Any) -> CachedReference:
        chosen, lookup = choose_reference(
            "auto", needed=True, model=tiny_llama(**config), adapter=adapter, name="tiny",
            rows=rows, load=tiny_llama,
        )  # fmt: skip
        assert isinstance(chosen, CachedReference)
        assert lookup is not None
        assert len(lookup(rows[0])) == 2
        return chosen

    return fill


def test_a_second_run_scores_nothing(
    reference: Callable[..., CachedReference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reference()
    before = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}
    from prefine.training import reference as module

    monkeypatch.setattr(module, "score_batch", lambda *_: pytest.fail("it scored again"))
    second = reference()
    assert {path: path.stat().st_mtime_ns for path in shards(tmp_path)} == before
    assert len(first.cache) == len(second.cache) == 12
    assert first.identity == second.identity


@pytest.mark.parametrize(
    "config", [{"seed": 1}, {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}]
)
def test_another_model_shares_nothing(
    reference: Callable[..., CachedReference], config: dict[str, Any]
) -> None:
    """The weights do not say everything: a configuration changes scores, too."""
    assert reference().cache.key != reference(**config).cache.key


def test_damaged_scores_are_computed_again(
    reference: Callable[..., CachedReference], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = reference()
    (shard,) = shards(tmp_path)
    good = shard.read_bytes()
    shard.write_bytes(flip(good))
    with caplog.at_level(logging.WARNING):
        second = reference()
    assert "is damaged" in caplog.text
    assert first.cache._values == second.cache._values
    assert shard.read_bytes() == good


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    keys = [bytes([n]) * 16 for n in range(3)]
    arrays = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    store = ReferenceCache(tmp_path, "w", {}, kind="features")
    store.add(dict(zip(keys, arrays, strict=True)))
    again = ReferenceCache(tmp_path, "w", {}, kind="features")
    for found in (store, again):
        assert len(found) == 3
        assert np.array_equal(found[keys[1]], arrays[1])
        assert not [v for v in found._values.values() if isinstance(v, np.ndarray)]  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(KeyError):
        store[b"x" * 16]
