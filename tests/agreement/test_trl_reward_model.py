"""TRL's online trainers take our reward model by the name of its folder, and read our numbers.

Beside the folder stands a function of TRL's signature that asks prefine: over whole steps, with
whatever the policy writes, both rewards are the same.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.models import RewardModel, export_model
from prefine.web import Queries, Scored

PROMPTS = [[{"role": "user", "content": f"say {n}"}] for n in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Path:
    """An exported reward model; its tokenizer's template writes a line break after the end."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, bos_token_id=1,
        eos_token_id=3, num_labels=1, initializer_range=0.2,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("reward")
    LlamaForSequenceClassification(config).save_pretrained(place / "model")
    tiny_tokenizer.save_pretrained(place / "model")
    export_model(str(place / "model"), place / "out")
    return place / "out"


@pytest.mark.parametrize("kind", ["GRPO", "RLOO"])
def test_an_exported_folder_is_a_reward_of_trl(
    kind: str, folder: Path, tiny_llama: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    queries = Queries(RewardModel.load(str(folder)))
    asked: list[float] = []

    def ours(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        scored = queries([(p + c, None) for p, c in zip(prompts, completions, strict=True)])
        assert all(isinstance(one, Scored) for one in scored), scored
        asked.extend(one.reward for one in scored if isinstance(one, Scored))
        return asked[-len(scored) :]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl
        from datasets import Dataset

        config = getattr(trl, f"{kind}Config")(
            output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=4, use_cpu=True,
            num_generations=4, max_completion_length=8, bf16=False, report_to="none", seed=0,
            logging_steps=1, disable_tqdm=True, save_strategy="no", beta=0.0,
        )  # fmt: skip
        trainer = getattr(trl, f"{kind}Trainer")(
            model=tiny_llama(), args=config, reward_funcs=[str(folder), ours],
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
            processing_class=tiny_tokenizer,
        )  # fmt: skip
        trainer.train()
    steps = [row for row in trainer.state.log_history if "rewards/ours/mean" in row]
    assert len(steps) == 2
    assert len({round(value, 4) for value in asked}) > 4
    for step in steps:
        theirs = step[f"rewards/{folder.name}/mean"]
        assert theirs == pytest.approx(step["rewards/ours/mean"], abs=1e-5)
        spread = step[f"rewards/{folder.name}/std"]
        assert spread == pytest.approx(step["rewards/ours/std"], abs=1e-5)
