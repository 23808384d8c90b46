"""Two sets of adapters on one base that learn at two speeds and chase each other (OFS-DPO).

The fast one is trained as any policy is, and is what a run evaluates and saves. The slow one learns
beside it from the same rows; after every spell of steps the better of the two is the fast one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from prefine.objectives.chase import TWIN
from prefine.objectives.declare import Loss
from prefine.objectives.links import gap
from prefine.protocols import Batch
from prefine.scores import Needs, Scores, Term
from prefine.training.metrics import RowSums, Sums, add_sums
from prefine.training.terms import term_rows, weight_of
from prefine.training.trainer import PreferenceTrainer
from prefine.training.twin import ADAPTERS, alone, chased, sides_of

if TYPE_CHECKING:
    from prefine.training.blocks import ChaseConfig

Side = Literal[0, 1]

SIDE = "side"
"""Key of a batch and of a group of parameters that says which of the two it is for."""


class Roles:
    """Which of two sides is fast: after every spell the one with the lower mean loss.

    Args:
        every: Steps of a spell.

    Attributes:
        fast: The side in the fast role.
        swaps: Steps after which the roles were exchanged.

    Example:
        >>> roles = Roles(2)
        >>> for step, losses in ((1, [0.7, 0.7]), (2, [0.6, 0.5])):
        ...     roles.see(torch.tensor(losses), step)
        >>> roles.fast, roles.swaps
        (1, [2])
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.fast: Side = 0
        self.swaps: list[int] = []
        self._sums, self._steps = torch.zeros(2, dtype=torch.float64), 0

    def see(self, losses: Tensor, step: int) -> None:
        """Take in a step.

        Args:
            losses: [2] mean loss of either side without the chase.
            step: Optimizer steps taken, this one included.
        """
        self._sums = self._sums.to(losses.device) + losses.detach().double()
        self._steps += 1
        if self._steps < self.every:
            return
        found = self._sums.tolist()
        if found[1 - self.fast] < found[self.fast]:
            self.fast = 1 if self.fast == 0 else 0
            self.swaps.append(step)
        self._sums, self._steps = torch.zeros_like(self._sums), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        spell = {"sums": self._sums.tolist(), "steps": self._steps}
        return {"fast": self.fast, "swaps": list(self.swaps), **spell}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""
        self.fast, self.swaps = state["fast"], list(state["swaps"])
        self._sums = torch.tensor(state["sums"], dtype=torch.float64)
        self._steps = state["steps"]


class ChasingTrainer(PreferenceTrainer):
    r"""Trains the two sets of adapters of a model, as `prefine.recipes.chase` does.

    In every step both score the rows; the fast one learns with the rate of the schedule and the
    slow one with `ratio` times that, each with its part of `objectives.chase.chasing`. One side is
    in memory at a time: the other's margins are scored once more without gradient. Each side's
    gradient is clipped by itself.

    Args:
        model: A PEFT model with two sets of LoRA adapters, as `add_twin` makes it.
        objective: An objective on pairs, with its options bound.
        chase: Rates, spell and strength.
        **kwargs: As for `PreferenceTrainer`.

    Raises:
        ConfigError: If the model has no twin, or there are several processes.
        ObjectiveError: If the objective does not take pairs or is stateful.
    """

    def __init__(
        self, model: nn.Module, *, objective: Loss, chase: "ChaseConfig", **kwargs: Any
    ) -> None:
        self.chase, self.roles = chase, Roles(chase.every)
        self.losses = chased(objective, chase)
        self.sides = sides_of(model)
        super().__init__(model, objective=objective, **kwargs)
        if self.args.world_size > 1:
            raise alone()
        self._side: Side | None = None
        self._twin: Tensor | None = None
        self._own = torch.zeros(2, 2, dtype=torch.float64, device=self.args.device)
        self.add_callback(_TwoRates(self))

    # ---------------------------------------------------------------- a step

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[list[Batch]], Tensor]:
        """See `PreferenceTrainer`; every part comes twice, once for each side."""
        batches, totals = super().get_batch_samples(epoch_iterator, num_batches, device)
        both = [[{**part, SIDE: side} for part in parts for side in (0, 1)] for parts in batches]
        return both, totals

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return the share of one side; its value is that of the fast one's own loss."""
        side: Side | None = inputs.get(SIDE)
        if side == 0:
            self._use(1)
            with torch.no_grad():
                seen = model(
                    batch=inputs, draw=self.adapter.draw(inputs, model), needs=Needs(), against=None
                )
            self._twin = term_rows(inputs, self.terms[0], seen, None).policy
        self._side = side
        self._use(self.roles.fast if side is None else side)  # held-out rows are for the fast one
        loss = super().compute_loss(model, inputs, False, num_items_in_batch)
        if side is not None and side != self.roles.fast:
            loss = loss - loss.detach()
        return (loss, {}) if return_outputs else loss

    def _losses(self, t: int, scores: Scores) -> Tensor:
        own = super()._losses(t, scores)
        if self._side is None:
            return own
        is_fast = self._side == self.roles.fast
        assert self._twin is not None
        against = replace(scores, others={**scores.others, TWIN: self._twin})
        total = self.losses[0 if is_fast else 1](against)
        weight = weight_of(scores).double()
        kept = torch.where(weight > 0, own.detach().double(), 0.0)
        self._own[self._side] += torch.stack([(weight * kept).sum(), weight.sum()])
        if is_fast:
            rows = RowSums(weight)
            rows.add("chase/lead", gap(scores.policy) - gap(self._twin))
            add_sums(self._sums["train"], rows.sums)
        self._twin = scores.policy.detach()
        return total - total.detach() + own.detach()

    def _record(self, model: nn.Module, term: Term, t: int, scores: Scores, losses: Tensor) -> None:
        if self._side is None or self._side == self.roles.fast:
            super()._record(model, term, t, scores, losses)
            return
        rows = RowSums(weight_of(scores).double())
        rows.add("chase/slow_loss", losses)
        add_sums(self._sums["train"], rows.sums)

    def finish_step(self) -> None:
        """Exchange the roles after a spell, if the slow side did better, and show the step."""
        means = self._own[:, 0] / torch.where(self._own[:, 1] > 0, self._own[:, 1], 1.0)
        self.roles.see(means, self.state.global_step)
        self._own.zero_()
        count = torch.tensor([float(len(self.roles.swaps)), 1.0], dtype=torch.float64)
        add_sums(self._sums["train"], Sums({"chase/swaps": count.to(self.args.device)}))
        super().finish_step()

    def _use(self, side: Side) -> None:
        cast(Any, self.model).set_adapter(ADAPTERS[side])

    # ---------------------------------------------------------------- the optimizer

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make one optimizer whose groups hold parameters of one side each."""
        for parameter in (*self.sides[0], *self.sides[1]):  # peft stops those not in use
            parameter.requires_grad_(True)
        made: torch.optim.Optimizer = super().create_optimizer(model)
        groups = [
            {**group, SIDE: side, "params": [p for p in group["params"] if id(p) in mine]}
            for side, mine in enumerate({id(p) for p in part} for part in self.sides)
            for group in made.param_groups
        ]
        made.param_groups = [group for group in groups if group["params"]]
        return made

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip the gradient of each side by itself; return the norm of both together."""
        self.accelerator.unscale_gradients()
        most = self.args.max_grad_norm
        return torch.stack([nn.utils.clip_grad_norm_(part, most) for part in self.sides]).norm()

    # ---------------------------------------------------------------- what is kept

    @property
    def _stateful(self) -> list[Any]:
        return [*super()._stateful, self.roles]

    def keep_fast(self) -> dict[str, Any]:
        """Leave the fast adapters alone in the model, under the usual name, once training is over.

        Returns:
            `swaps`, the steps after which roles were exchanged, and `fast`, the side that is kept.
        """
        model = cast(Any, self.model)
        if self.roles.fast == 1:
            with torch.no_grad():
                for kept, fast in zip(*self.sides, strict=True):
                    kept.copy_(fast)
        model.set_adapter(ADAPTERS[0])
        model.delete_adapter(TWIN)
        return {"swaps": list(self.roles.swaps), "fast": self.roles.fast}


class _TwoRates(TrainerCallback):
    """Slows the slow side's groups down for the step alone, so that any schedule moves both."""

    def __init__(self, trainer: ChasingTrainer) -> None:
        self.trainer = trainer
        self._rates: list[Any] = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        groups = cast(Any, self.trainer.optimizer).param_groups
        self._rates = [group["lr"] for group in groups]
        for group in groups:
            if group[SIDE] != self.trainer.roles.fast:
                group["lr"] = group["lr"] * self.trainer.chase.ratio

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        groups = cast(Any, self.trainer.optimizer).param_groups
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate
