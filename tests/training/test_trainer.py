"""What the trainer refuses, and that a step is the mean it says it is."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, NonFiniteError, ObjectiveError
from prefine.objectives import dpo, sft, simpo
from prefine.objectives.chase import chasing
from prefine.objectives.declare import objective
from prefine.scores import Needs, Scores
from prefine.training.trainer import PreferenceTrainer

Make = Callable[..., PreferenceTrainer]
Rows = Callable[..., list[dict[str, Any]]]


def log_probs(model: Any, rows: list[dict[str, Any]], tokenizer: Any) -> torch.Tensor:
    """[B, 2] log-probabilities, with gradient, from one batch of all rows."""
    adapter = CausalLM(tokenizer)
    items = adapter.score(model, adapter.collate(rows), needs=Needs())
    return items.value.view(len(rows), 2)


def test_a_steps_gradient_is_that_of_the_weighted_mean(
    trainer: Make, token_rows: Rows, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    """Autograd on sum(w loss) / sum(w) over all rows at once, by hand, is what the step uses."""
    weights = [0.5, 2.0, 1.0, 0.0, 3.0]
    rows = token_rows(5, weight=weights)
    model, twin = (tiny_llama(initializer_range=0.1).double() for _ in range(2))
    made = trainer(
        partial(simpo, beta=1.0, gamma_over_beta=0.5), rows=rows, model=model, max_steps=1,
        gradient_accumulation_steps=3, optim="sgd", max_grad_norm=0.0,
    )  # fmt: skip
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    made.train()
    length = torch.tensor([[len(r) for r in row["response"]] for row in rows]).double()
    mean = log_probs(twin, rows, tiny_tokenizer) / length
    losses = -torch.nn.functional.logsigmoid(mean[:, 0] - mean[:, 1] - 0.5)
    weight = torch.tensor(weights).double()
    ((weight * losses).sum() / weight.sum()).backward()
    for (name, after), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert expected.grad is not None
        step = (before[name] - after.detach()) / 1e-2
        torch.testing.assert_close(step, expected.grad, rtol=1e-8, atol=1e-10)


def test_held_out_loss_is_the_weighted_mean_whatever_the_batch(
    trainer: Make, token_rows: Rows
) -> None:
    held_out = token_rows(5, weight=[0.5, 2.0, 1.0, 0.0, 3.0])
    found = [
        trainer(simpo, eval_rows=held_out, per_device_eval_batch_size=size).evaluate()
        for size in (1, 2, 5)
    ]
    for other in found[1:]:
        assert other["eval_loss"] == pytest.approx(found[0]["eval_loss"], rel=1e-12)
        key = "eval_rewards/accuracies"
        assert other[key] == pytest.approx(found[0][key], rel=1e-12)


def test_a_reference_must_be_there_when_it_is_read(trainer: Make) -> None:
    with pytest.raises(ObjectiveError, match="dpo compares the policy with a reference"):
        trainer(dpo)


def test_a_second_policy_is_not_left_out_in_silence(trainer: Make) -> None:
    with pytest.raises(ObjectiveError, match=r"with twin, which learns beside it.*recipes\.chase"):
        trainer(chasing(simpo, role="fast"))


def test_a_loss_that_reduces_is_refused(trainer: Make) -> None:
    @objective("pair")
    def eager(scores: Scores) -> torch.Tensor:
        return (scores.policy[:, 1] - scores.policy[:, 0]).mean()

    with pytest.raises(ObjectiveError, match=r"eager returned shape \(\) for 2 rows"):
        trainer(eager).train()


def test_a_number_that_is_not_finite_names_step_and_rows(trainer: Make) -> None:
    @objective("pair")
    def breaks(scores: Scores) -> torch.Tensor:
        gap = scores.policy[:, 1] - scores.policy[:, 0]
        return gap if breaks.calls < 2 else gap / 0.0  # type: ignore[attr-defined]

    breaks.calls = 0  # type: ignore[attr-defined]

    def count(_: Any) -> None:
        breaks.calls += 2  # type: ignore[attr-defined]

    with pytest.raises(NonFiniteError, match=r"step 1: the loss is .*Records: r\d, r\d\."):
        trainer(breaks, on_step=count).train()


def test_a_gradient_that_is_not_finite_is_named(trainer: Make) -> None:
    @objective("pair")
    def steep(scores: Scores) -> torch.Tensor:
        gap = (scores.policy[:, 0] - scores.policy[:, 1]).detach() * 0.0
        return (scores.policy[:, 0] * 0.0 + gap).sqrt()

    with pytest.raises(NonFiniteError, match="step 0: the gradient's norm is"):
        trainer(steep).train()


def test_only_orders_that_can_be_repeated_are_offered(trainer: Make) -> None:
    with pytest.raises(ConfigError, match="group_by_length"):
        trainer(sft, train_sampling_strategy="group_by_length").train()


def test_one_row_of_metrics_a_step(trainer: Make) -> None:
    rows: list[dict[str, Any]] = []
    trainer(simpo, on_step=rows.append, max_steps=4).train()
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all({"loss", "grad_norm", "learning_rate", "rewards/margins"} <= r.keys() for r in rows)


def test_dropout_is_switched_off(trainer: Make, tiny_llama: Callable[..., Any]) -> None:
    model = tiny_llama(attention_dropout=0.5)
    trainer(simpo, model=model)
    assert model.model.layers[0].self_attn.attention_dropout == 0.0
