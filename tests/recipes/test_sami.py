"""Rounds of grids: fresh samples, and rows in which each response stands under each instruction."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.objectives.grid import grid_term
from prefine.recipes import Grid, grid_view, sami
from prefine.records import Candidate, Message, Record, Source
from prefine.sampling import LanguageSampler
from prefine.training.rows import EncodedRows
from prefine.training.trainer import PreferenceTrainer


def prompt(text: str) -> Record:
    return Record(source=Source("test", row=0), context=(Message("user", text),), candidates=())


def test_each_round_has_samples_of_the_policy_as_it_is() -> None:
    state = {"fitted": 0}
    seeds: list[int] = []

    def sample(prompts: Sequence[str], seed: int) -> list[str]:
        seeds.append(seed)
        return [f"{one}{state['fitted']}" for one in prompts]

    def fit(grids: Sequence[Grid[str, str]], number: int) -> None:
        assert number == state["fitted"]
        state["fitted"] += 1

    rounds = list(sami([["a", "b"], ["c", "d"]], sample, fit, rounds=2, seed=5))
    assert seeds == [5, 6]
    assert [grid.responses for grid in rounds[0]] == [("a0", "b0"), ("c0", "d0")]
    assert [grid.responses for grid in rounds[1]] == [("a1", "b1"), ("c1", "d1")]
    assert rounds[1][1].prompts == ("c", "d")


@pytest.mark.parametrize("requests", [[], [["a"]], [["a", "b"], ["c"]]])
def test_requests_need_the_same_instructions(requests: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match="one prompt for each of the same instructions"):
        next(sami(requests, lambda prompts, seed: prompts, lambda grids, number: None))


def test_a_sampler_that_leaves_prompts_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="gave 1 responses to 2 prompts"):
        next(sami([["a", "b"]], lambda prompts, seed: ["a"], lambda grids, number: None))


def test_rows_of_a_language_model_are_whole_grids(tiny_tokenizer: Any) -> None:
    answers = [
        Candidate(f"c{k}", (Message("assistant", text),)) for k, text in enumerate(("x", "longer"))
    ]
    view = grid_view([Grid((prompt("be kind. hi"), prompt("be rude. hi")), tuple(answers))])
    (row,) = CausalLM(tiny_tokenizer).prepare(view).dataset
    assert tuple(row["roles"]) == grid_term(2).roles
    said = [tiny_tokenizer.decode(ids) for ids in row["response"]]
    asked = [tiny_tokenizer.decode(ids) for ids in row["prompt"]]
    assert said[0] == said[2] != said[1] == said[3]
    assert asked[0] == asked[1] != asked[2] == asked[3]


def test_a_language_model_is_trained_on_its_own_answers(
    tiny_llama: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    model = tiny_llama(initializer_range=0.3)
    draw = LanguageSampler(model, tiny_tokenizer, max_new_tokens=6)
    losses: list[float] = []

    def sample(prompts: Sequence[Record], seed: int) -> list[Candidate]:
        return [record.candidates[0] for record in draw(prompts, seed=seed).records]

    def fit(grids: Sequence[Grid[Record, Candidate]], number: int) -> None:
        adapter = CausalLM(tiny_tokenizer)
        rows = adapter.prepare(grid_view(grids)).dataset
        trainer = PreferenceTrainer(
            model, adapter=adapter, objective=[grid_term(2)],
            args=TrainingArguments(
                output_dir=str(tmp_path), max_steps=6, learning_rate=1e-2, report_to="none",
                per_device_train_batch_size=4, disable_tqdm=True, save_strategy="no",
                use_cpu=True, lr_scheduler_type="constant",
            ),
            train_dataset=EncodedRows(lambda _: rows, len(rows)),
            on_step=lambda row: losses.append(row["loss"]),
        )  # fmt: skip
        trainer.train()

    requests = [[prompt(f"be {how}. say {n}") for how in ("kind", "rude")] for n in range(4)]
    torch.manual_seed(0)
    list(sami(requests, sample, fit, rounds=1))
    assert losses[-1] < losses[0]
