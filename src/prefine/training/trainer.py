"""The offline trainer: one subclass of `transformers.Trainer` for every objective.

What it adds to the Trainer: a reduction by global weights, so that micro-batching and data
parallelism never change the result; the reference; the three kinds of objective; metrics; and
checkpoints that are whole or absent.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from prefine.adapters import bind
from prefine.engine.layout import PackedItems
from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives.declare import Loss, Spec, Stateful, spec
from prefine.protocols import Adapter, Batch
from prefine.scores import ItemScores, Needs, Scores, Term
from prefine.training.ahead import Ahead
from prefine.training.checkpoints import Saved, load_objective, save_whole
from prefine.training.checks import (
    check_step_zero,
    refuse_infinite_gradient,
    refuse_infinite_loss,
)
from prefine.training.coupled import coupled_gradients
from prefine.training.degree_head import head_on
from prefine.training.later import Later
from prefine.training.metrics import ERRORS, Sums, add_sums, beta_of, finish, metric_sums
from prefine.training.mixing import Mixing, refuse_mixing
from prefine.training.moving_reference import MovingReference
from prefine.training.observing import observe_before
from prefine.training.reference import NoReference, Reference, without_dropout
from prefine.training.rows import EncodedRows, FilledSampler, collate_in_parts
from prefine.training.terms import all_needs, as_terms, term_rows, total_weights, weight_of

OnStep = Callable[[dict[str, Any]], None]


WHOLE = {"log_softmax"}
"""Elements of the reference that the adapter compares the policy with, and nothing else reads."""

STEPS_AHEAD = 2
"""Steps whose batches are made while another is computed."""


class PreferenceTrainer(Trainer):
    """Minimises the weighted mean of an objective over the rows of a view.

    The gradient of a step is that of sum(weight * loss) / sum(weight) over the whole global
    batch, however it is cut into micro-batches and processes.

    Args:
        model: The policy (or reward model); bound to the adapter here. Dropout is switched off.
        adapter: Lays rows out and scores them.
        objective: A loss, or a sequence of `Term`s.
        args: transformers' training arguments.
        train_dataset: `EncodedRows`.
        eval_dataset: `EncodedRows`, or several by name.
        reference: A `Reference`; none by default.
        token_budget: Most tokens computed at once on a device; a micro-batch with more is computed
            in parts (see `adapters.parts`). None for no limit.
        mixing: Moves the weights of sources, or None.
        offload: Whether activations wait for the backward pass in the host's memory.
        on_step: Called with one row of metrics after every optimizer step and evaluation.
        **kwargs: Passed to `transformers.Trainer` (callbacks, optimizers, ...).

    Raises:
        ObjectiveError: If the objective needs what the reference or the adapter cannot give.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        *,
        adapter: Adapter,
        objective: Loss | Sequence[Term],
        args: TrainingArguments,
        train_dataset: EncodedRows | None = None,
        eval_dataset: EncodedRows | dict[str, EncodedRows] | None = None,
        reference: Reference | None = None,
        token_budget: int | None = None,
        mixing: Mixing | None = None,
        offload: bool = False,
        on_step: OnStep | None = None,
        **kwargs: Any,
    ) -> None:
        args = replace(args, remove_unused_columns=False, logging_nan_inf_filter=False)
        without_dropout(model)
        super().__init__(
            bind(model, adapter),  # type: ignore[arg-type]
            args,
            data_collator=partial(collate_in_parts, adapter, token_budget),  # type: ignore[arg-type]
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,  # type: ignore[arg-type]
            **kwargs,
        )
        self.adapter, self.head = adapter, head_on(model)
        self.terms = as_terms(objective)
        self.specs: list[Spec] = [spec(term.objective) for term in self.terms]
        self.reference: Reference = NoReference() if reference is None else reference
        self.needs = all_needs(self.specs)
        self.on_step = on_step or (lambda row: None)
        self._state_sums: dict[int, dict[str, Tensor]] = {}
        self._sums: dict[str, Sums] = {"train": {}, "eval": {}}
        self._grad_norm: Tensor | None = None
        self._last: dict[str, float] = {}
        self.token_budget, self.mixing = token_budget, mixing
        self._offload = offload
        self._ahead: tuple[Any, Ahead] | None = None
        self.later = Later(lag=int(self.args.device.type != "cpu"))
        self._check_objective()
        self.add_callback(_AfterStep(self))

    @property
    def policy(self) -> nn.Module:
        """The model as it is called: wrapped for several processes where there are several."""
        return cast(nn.Module, self.model_wrapped)

    # ---------------------------------------------------------------- what is scored

    def scores(self, model: nn.Module, batch: Batch) -> tuple[ItemScores, ItemScores | None]:
        """Score the N items of a batch under the policy, and under the reference if needed."""
        draw = self.adapter.draw(batch, model)
        reference, against = None, None
        if self.needs.reference:
            reference = self.reference(batch, draw, self.needs.of_reference, model)
            against = {name: reference.elements[name] for name in WHOLE & reference.elements.keys()}
            kept = {k: v for k, v in reference.elements.items() if k not in WHOLE}
            reference = replace(reference, elements=kept)
        needs = self.needs | self._watched(model)
        policy = model(batch=batch, draw=draw, needs=needs, against=against)
        if reference is not None:
            reference = replace(reference, value=reference.value.to(policy.value.dtype))
        return policy, reference

    def _watched(self, model: nn.Module) -> Needs:
        """What is read for its metrics alone: whole distributions, only where they are logged."""
        every = max(1, self.state.logging_steps)
        if self.adapter.unit != "nats" or (model.training and self.state.global_step % every):
            return Needs()
        of_top = () if model.training else ("top_entropy", "top_mass")
        return Needs(elements=frozenset({"entropy", *of_top}))

    # ---------------------------------------------------------------- before a step

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[list[Batch]], Tensor]:
        """See every micro-batch of a step before its first forward.

        Returns:
            The micro-batches, each in parts, and [T] the global sum of weights of each term.
        """
        if self._ahead is None or self._ahead[0] is not epoch_iterator:
            self._ahead = (epoch_iterator, Ahead(epoch_iterator, STEPS_AHEAD * num_batches))
        drawn, _ = super().get_batch_samples(self._ahead[1], num_batches, device)
        batches: list[list[Batch]] = [cast(Any, self._prepare_inputs(parts)) for parts in drawn]
        if self.mixing is not None:
            batches = self.mixing.before_step(self, batches)
        parts = [part for batch in batches for part in batch]
        observe_before(self, parts)
        totals = self._all_reduce(total_weights(parts, self.terms))
        if any(declared.coupled for declared in self.specs):
            coupled_gradients(self, parts)
        return batches, totals

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch, unless a resumed run is at its end: the Trainer would go one step on."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        try:
            super()._run_epoch(*args, **kwargs)
        finally:
            if self._ahead is not None:
                self._ahead[1].close()
            self._ahead = None

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> Tensor:
        """Run forward and backward of a micro-batch, part by part; gradients travel once."""
        *first, last = inputs
        losses: list[Tensor] = []
        with self.accelerator.no_sync(model) if first else nullcontext():
            for part in first:
                losses.append(super().training_step(model, part, num_items_in_batch))
        losses.append(super().training_step(model, last, num_items_in_batch))
        return torch.stack(losses).sum()

    def compute_loss_context_manager(self) -> Any:
        """Add to transformers' own: what the forward saves may wait in the host's memory."""
        stack = ExitStack()
        stack.enter_context(super().compute_loss_context_manager())
        if self._offload:
            pinned = torch.accelerator.is_available()
            stack.enter_context(torch.autograd.graph.save_on_cpu(pin_memory=pinned))
        return stack

    # ---------------------------------------------------------------- the loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return this micro-batch's share of the step's loss."""
        policy, reference = self.scores(model, inputs)
        total_loss = policy.value.sum() * 0.0
        for t, term in enumerate(self.terms):
            scores = term_rows(inputs, term, policy, reference)
            if t == 0 and self.state.global_step == 0:
                low = self.args.bf16 or self.args.fp16
                check_step_zero(
                    scores,
                    self.reference,
                    self.policy,
                    low_precision=low,
                    scale=0.0 if self.adapter.unit in ERRORS else 1.0,
                )
            if self.specs[t].coupled and "coupled" in inputs:
                total_loss = total_loss + term.coefficient * self._replayed(inputs, t, scores)
                continue
            losses = self._losses(t, scores)
            share = self._weighted(scores, losses, inputs, term)
            if num_items_in_batch is None:  # evaluation: a mean over this batch alone
                total, scale = weight_of(scores).sum(), 1.0
            else:
                total, scale = num_items_in_batch[t], float(self.args.world_size)
            total_loss = total_loss + term.coefficient * scale * share / _positive(total)
            self._record(model, term, t, scores, losses)
        self.later.read(
            torch.cat([total_loss.detach().double()[None], policy.value.detach().double()]),
            partial(refuse_infinite_loss, records=inputs["records"], step=self.state.global_step),
        )
        return (total_loss, {}) if return_outputs else total_loss

    def _losses(self, t: int, scores: Scores) -> Tensor:
        """[B] what term `t` minimises."""
        return self.terms[t].objective(scores)

    def _weighted(self, scores: Scores, losses: Tensor, batch: Batch, term: Term) -> Tensor:
        weight, count = weight_of(scores), len(batch["index"])
        if losses.shape != (count,):
            raise ObjectiveError(
                f"{term.name} returned shape {tuple(losses.shape)} for {count} rows. "
                "An objective returns one loss per row and never reduces."
            )
        return (torch.where(weight > 0, losses, 0.0) * weight.to(losses.dtype)).sum()

    def _replayed(self, batch: Batch, t: int, scores: Scores) -> Tensor:
        """Replay d loss / d scores of the gathered batch; its value is the gathered loss."""
        gradient, value, share = batch["coupled"][t]
        surrogate = self.args.world_size * (gradient * scores.policy).sum()
        with torch.no_grad():
            losses = value.expand(len(scores.policy))
        self._record(self.policy, self.terms[t], t, scores, losses)
        return surrogate - surrogate.detach() + value * share

    def _record(self, model: nn.Module, term: Term, t: int, scores: Scores, losses: Tensor) -> None:
        kind = "train" if model.training else "eval"
        sums = metric_sums(scores, losses, beta=beta_of(term.objective), unit=self.adapter.unit)
        prefix = "" if len(self.terms) == 1 else f"{term.name}/"
        add_sums(self._sums[kind], {prefix + name: value for name, value in sums.items()})
        loss = term.objective
        if kind == "train" and isinstance(loss, Stateful) and loss.when == "after":
            with torch.no_grad():
                add_sums(self._state_sums.setdefault(t, {}), loss.observe(scores))

    # ---------------------------------------------------------------- after a step

    def finish_step(self) -> None:
        """Update "after" states and hand out the step's metrics; all ranks take part."""
        for t, term in enumerate(self.terms):
            sums = self._state_sums.pop(t, None)
            if sums is not None and isinstance(term.objective, Stateful):
                reduced = {name: self._all_reduce(value) for name, value in sorted(sums.items())}
                term.objective.update(reduced)
        if isinstance(self.reference, MovingReference):
            self.reference.follow(cast(nn.Module, self.model), self.state.global_step)
        at = {"step": self.state.global_step, "epoch": self.state.epoch}
        after = {"learning_rate": self._get_learning_rate()}
        after |= {} if self.mixing is None else self.mixing.shown
        self._drain("train", partial(self._show_step, at, after))
        self.later.turn()

    def _show_step(
        self, at: Mapping[str, Any], after: Mapping[str, Any], values: dict[str, float]
    ) -> None:
        if self.args.process_index == 0:
            self.on_step({**at, **values, **after})
        self._last = values

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add our own means to what is logged, in place, so that early stopping sees them."""
        self.later.flush()
        prefix = next(
            (k[: -len("_loss")] for k in logs if k.endswith("_loss") and k != "train_loss"), None
        )
        if prefix is not None and prefix.startswith("eval"):
            values: dict[str, float] = {}
            self._drain("eval", values.update)
            self.later.flush()
            logs.update({f"{prefix}_{name}": value for name, value in values.items()})
            if self.args.process_index == 0:
                named = {f"{prefix}_{name}": value for name, value in values.items()}
                self.on_step({"step": self.state.global_step, **named})
        elif "loss" in logs:
            logs.update({k: v for k, v in self._last.items() if k != "loss"})
        super().log(logs, start_time)

    def _drain(self, kind: str, use: Callable[[dict[str, float]], None]) -> None:
        """Give `use` the means of what was summed since the last call, once they can be read."""
        sums, self._sums[kind] = self._sums[kind], {}
        names = sorted(sums)
        sizes = [len(sums[name]) for name in names]
        summed = [self._all_reduce(torch.cat([sums[name] for name in names]))] if names else []
        norm = [] if kind == "eval" or self._grad_norm is None else [self._grad_norm]

        def read(found: Sequence[float]) -> None:
            parts = torch.tensor(found[: sum(sizes)], dtype=torch.float64).split(sizes)
            values = finish(dict(zip(names, parts, strict=True)))
            if len(self.terms) > 1:
                losses = [(t.coefficient, values.get(f"{t.name}/loss")) for t in self.terms]
                values["loss"] = sum(c * loss for c, loss in losses if loss is not None)
            use(values | ({"grad_norm": found[-1]} if norm else {}))

        if summed or norm:
            self.later.read(torch.cat([*summed, *norm]), read)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, None, None]:
        """Score a batch without gradient; means come from our own weighted sums."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            losses = [self.compute_loss(model, part) for part in inputs]
        return torch.stack(losses).mean().detach(), None, None

    # ---------------------------------------------------------------- checks

    def _check_objective(self) -> None:
        if self.needs.reference and self.reference.identity.kind == "none":
            names = ", ".join(term.name for term in self.terms)
            raise ObjectiveError(
                f"{names} compares the policy with a reference, but none was given. Name one "
                "(--reference), or choose an objective that needs none, such as simpo."
            )
        if self.needs.others:
            raise ObjectiveError(
                f"The objective compares the policy with {', '.join(sorted(self.needs.others))}, "
                "which learns beside it. This trainer trains one policy: give the plain objective "
                "with a `chase` block, or see prefine.recipes.chase."
            )
        if self.needs.vector and not self.adapter.has_vector:
            raise ObjectiveError("The objective reads a vector output, which this adapter has not.")
        asked = {name.removeprefix("reference_") for name in self.needs.elements}
        if absent := sorted(asked - self.adapter.elements):
            raise ObjectiveError(
                f"The objective reads {', '.join(absent)} of every response, which models of this "
                "kind do not give. Choose an objective for them."
            )
        if self.mixing is not None:
            for declared in self.specs:
                refuse_mixing(declared, self.args.world_size)
        if self.args.world_size == 1 and self.args.n_gpu > 1:
            raise ConfigError("DataParallel is not supported. Start with `accelerate launch`.")

    # ---------------------------------------------------------------- what the Trainer asks for

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the optimizer, in which a head that is thrown away has its own rate."""
        optimizer = super().create_optimizer(model)
        if self.head is not None:
            self.head.take_own_rate(optimizer)
        return optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> FilledSampler:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return self._sampler(rows, self._train_batch_size, shuffle=self._shuffles)

    def _get_eval_sampler(self, eval_dataset: Any) -> FilledSampler:
        return self._sampler(eval_dataset, self.args.eval_batch_size, shuffle=False)

    @property
    def _shuffles(self) -> bool:
        strategy = self.args.train_sampling_strategy
        if strategy not in ("random", "sequential"):
            raise ConfigError(
                f"training.train_sampling_strategy: {strategy!r} is not supported here; use random "
                "or sequential."
            )
        return strategy == "random"

    def _sampler(self, rows: Any, per_device: int, *, shuffle: bool) -> FilledSampler:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return FilledSampler(
            len(rows), per_device * self.args.world_size, shuffle=shuffle, seed=seed
        )

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm: Any = super()._get_grad_norm(model, grad_norm=grad_norm)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else torch.as_tensor(norm)
        self._grad_norm = found = whole.detach().double().reshape(1)
        check = partial(refuse_infinite_gradient, step=self.state.global_step)
        self.later.read(found, check)
        return norm

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 6 times parameters times tokens, the usual count for forward and backward."""
        tokens = sum(_tokens(part["items"]) for part in inputs)
        return 6 * tokens * sum(p.numel() for p in self.policy.parameters())

    def _prepare_input(self, data: Any) -> Any:
        if isinstance(data, PackedItems):
            return data.to(self.args.device)
        return super()._prepare_input(data)

    def _all_reduce(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value.to(self.args.device), reduction="sum")  # type: ignore[return-value]

    # ---------------------------------------------------------------- checkpoints

    @property
    def _stateful(self) -> list[Any]:
        """What carries a state from step to step, in the order of a checkpoint."""
        kept: list[Any] = [t.objective for t in self.terms if isinstance(t.objective, Stateful)]
        return kept if self.mixing is None else [*kept, self.mixing]

    @property
    def _beside(self) -> list[Saved]:
        """What has weights that are no part of the model."""
        found: list[Saved] = [] if self.head is None else [self.head]
        return [*found, *([self.reference] if isinstance(self.reference, MovingReference) else [])]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.later.flush()  # what is not finite is never saved
        states = [each.state_dict() for each in self._stateful]
        save_whole(self, partial(super()._save_checkpoint, model, trial), states, self._beside)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train; see `transformers.Trainer.train`. The objective's state is resumed, too."""
        if isinstance(resume_from_checkpoint, str | Path):
            self._load_states(Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def go_back(self, checkpoint: Path) -> None:
        """Take the weights, the reference and all states of an earlier step."""
        self._load_from_checkpoint(str(checkpoint))
        self._load_states(checkpoint)

    def _load_states(self, checkpoint: Path) -> None:
        load_objective(checkpoint, self._stateful)
        for each in self._beside:
            each.load(checkpoint)


class _AfterStep(TrainerCallback):
    def __init__(self, trainer: PreferenceTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.trainer.finish_step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.trainer.later.flush()


def _tokens(items: Any) -> int:
    """What the model computes of a batch's items, padding included."""
    if isinstance(items, PackedItems):
        return items.tokens
    if "sample" in items:
        return items["sample"][:, 0].numel()  # places of a picture
    return items["input_ids"].numel() if items else 0  # features need no trunk


def _positive(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, torch.ones_like(total))
