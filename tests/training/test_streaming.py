"""Runs on trajectories: what is added, what is learnt, what is refused."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from prefine.errors import ConfigError
from prefine.runs import RunFolder
from prefine.training.config import parse
from prefine.training.plan import prepare
from prefine.training.streaming import add_read, make_room

NAMED = {"model": "m", "data": "d", "out": "o"}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("room", [0, 3])
def test_a_new_token_starts_as_the_mean_and_changes_nothing_else(
    tied: bool, room: int, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    """Also where the model has rows that no token of its tokenizer uses."""
    model = tiny_llama(vocab=260 + room, tie_word_embeddings=tied).eval()
    tokenizer = copy.deepcopy(tiny_tokenizer)
    ids = torch.tensor([[1, 9, 17]])
    with torch.no_grad():
        before = model(input_ids=ids).logits[..., :260]
    assert add_read(tokenizer, "<read>")
    assert not add_read(tokenizer, "<read>"), "it is there already"
    assert "<read>" in make_room(model, tokenizer)
    assert model.config.vocab_size == model.lm_head.weight.shape[0] == 260 + max(room, 1)
    with torch.no_grad():
        after = model(input_ids=ids).logits
    torch.testing.assert_close(after[..., :260], before)
    torch.testing.assert_close(after[..., 260], before.mean(-1))
    row = model.get_input_embeddings().weight
    torch.testing.assert_close(row[260], row[:260].mean(0))
    assert tokenizer("a<read> b", add_special_tokens=False)["input_ids"][1] == 260


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objective": "simul_dpo"}, "Set streaming.read, or take the preset simulpl"),
        ({"objective": "reward", "streaming": {}}, "streaming trains a policy"),
        ({"objective": "dpo", "streaming": {}, "rationale": {}}, "streaming and rationale"),
        ({"objective": "dpo", "streaming": {}, "degrees": {}}, "streaming and degrees"),
        (
            {"objective": "dpo", "streaming": {}, "rows": {"instructions": {"intra": 1.0}}},
            "streaming and rows.instructions",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(given: Any, said: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare(parse({**NAMED, **given}), RunFolder(tmp_path / "run"), quiet=True)


@pytest.mark.parametrize("word", ["", "a b"])
def test_reading_is_one_word(word: str) -> None:
    with pytest.raises(ConfigError, match=r"streaming\.read"):
        parse({**NAMED, "objective": "sft", "streaming": {"read": word}})
