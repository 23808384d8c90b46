"""Loading: what is on disk, in the precision asked for, and never weights made up in silence."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model

from prefine.errors import ConfigError
from prefine.models import load_policy, load_reward_model, load_tokenizer

IDS = torch.tensor([[1, 5, 9, 3]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def with_lora(model: Any, task: TaskType) -> Any:
    """A model with adapters that change its output."""
    lora = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type=task))
    with torch.no_grad():
        for name, tensor in lora.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.3)
    return lora


def test_a_policy_is_what_was_saved(policy: str, tiny_llama: Callable[..., Any]) -> None:
    loaded = load_policy(policy)
    torch.testing.assert_close(logits(loaded), logits(tiny_llama(initializer_range=0.2)))
    assert loaded.config.use_cache is False


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float64", torch.float64)],
)
def test_weights_have_the_precision_asked_for(
    policy: str, dtype: str, expected: torch.dtype
) -> None:
    assert {p.dtype for p in load_policy(policy, dtype=dtype).parameters()} == {expected}


def test_auto_is_the_precision_of_the_files(
    folder: Callable[..., str], tiny_llama: Callable[..., Any]
) -> None:
    half = folder(tiny_llama().to(torch.bfloat16))
    assert load_policy(half, dtype="auto").dtype == torch.bfloat16
    assert load_policy(half).dtype == torch.float32


def test_tied_embeddings_are_not_missing(
    folder: Callable[..., str], tiny_llama: Callable[..., Any]
) -> None:
    tied = tiny_llama(tie_word_embeddings=True, initializer_range=0.2)
    torch.testing.assert_close(logits(load_policy(folder(tied))), logits(tied))


def test_padding_stands_on_the_right(folder: Callable[..., str], tiny_llama: Any) -> None:
    from transformers import AutoTokenizer

    place = folder(tiny_llama())
    left = AutoTokenizer.from_pretrained(place, padding_side="left")
    left.save_pretrained(place)
    assert load_tokenizer(place).padding_side == "right"


def test_adapters_of_a_policy_come_merged(policy: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    lora = with_lora(load_policy(policy), TaskType.CAUSAL_LM)
    lora.save_pretrained(tmp_path)
    merged = load_policy(str(tmp_path))
    torch.testing.assert_close(logits(merged), logits(lora), rtol=0, atol=1e-5)
    assert (logits(merged) - logits(load_policy(policy))).abs().max() > 0.1
    assert not [name for name in merged.state_dict() if "lora" in name]
    assert all(p.requires_grad for p in merged.parameters()), "it may be trained as a whole"


def test_adapters_of_a_reward_bring_their_head(policy: str, tmp_path: Path) -> None:
    lora = with_lora(load_reward_model(policy), TaskType.SEQ_CLS)
    lora.save_pretrained(tmp_path)
    merged = load_reward_model(str(tmp_path), new_head=False)
    head = lora.get_base_model().score.modules_to_save["default"].weight
    torch.testing.assert_close(merged.score.weight, head)


def test_a_policy_gets_a_head_to_train(policy: str, tiny_tokenizer: Any) -> None:
    loaded = load_reward_model(policy, tokenizer=tiny_tokenizer)
    assert loaded.score.weight.shape == (1, 16)
    assert loaded.config.pad_token_id == tiny_tokenizer.pad_token_id
    trunk = load_policy(policy).model
    torch.testing.assert_close(loaded.model.embed_tokens.weight, trunk.embed_tokens.weight)


def test_a_tokenizer_without_padding_pads_with_its_end(policy: str, tiny_tokenizer: Any) -> None:
    bare = copy.deepcopy(tiny_tokenizer)
    bare.pad_token = None
    assert load_reward_model(policy, tokenizer=bare).config.pad_token_id == bare.eos_token_id


def test_random_weights_are_refused(
    policy: str, reward: str, folder: Callable[..., str], make_reward: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=r"hold no score\.weight.*random"):
        load_reward_model(policy, new_head=False)
    with pytest.raises(ConfigError, match=r"hold no lm_head\.weight.*random"):
        load_policy(reward)
    two = folder(make_reward(num_labels=2))
    with pytest.raises(ConfigError, match="could not be loaded"):
        load_reward_model(two)


def test_loading_says_what_matters_and_nothing_else(
    policy: str,
    tiny_llama: Callable[..., Any],
    folder: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """transformers' bars and tables stay away; a weight that is left unused is named."""
    load_policy(policy)
    load_reward_model(policy)
    assert capfd.readouterr() == ("", "")
    assert not caplog.messages
    odd = tiny_llama()
    odd.model.adapter = torch.nn.Linear(2, 2, bias=False)
    load_policy(folder(odd))
    (said,) = caplog.messages
    assert "makes no use of 1 of the weights in its files: model.adapter.weight" in said


def test_adapters_of_a_policy_are_no_reward(policy: str, tmp_path: Path) -> None:
    with_lora(load_policy(policy), TaskType.CAUSAL_LM).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"hold no score\.weight"):
        load_reward_model(str(tmp_path), new_head=False)


def test_what_is_not_there_is_named(tmp_path: Path, policy: str) -> None:
    with pytest.raises(ConfigError, match="no such folder here"):
        load_policy("no/such")
    with pytest.raises(ConfigError, match="this folder could not be loaded"):
        load_policy(str(tmp_path))
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "run.yaml").write_text("objective: dpo\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"folder of a run. Its model is in .*run/model\."):
        load_policy(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"`dtype` must be one of float32.*'int8'"):
        load_policy(policy, dtype="int8")


def test_pickled_weights_are_not_read(tmp_path: Path, tiny_llama: Callable[..., Any]) -> None:
    """A folder whose only weights are a pickle, which could run code, is refused."""
    model = tiny_llama()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        load_policy(str(tmp_path))
