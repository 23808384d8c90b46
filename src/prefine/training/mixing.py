"""Sources of a run's data that gain and lose weight while it trains (see `estimators.mixing`)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prefine.errors import ConfigError, RecordError
from prefine.estimators import GradientMixing, aligned
from prefine.protocols import Batch
from prefine.training.resampling import SourceDraws
from prefine.training.rows import EncodedRows, collate_in_parts
from prefine.training.terms import term_rows, total_weights, weight_of

if TYPE_CHECKING:
    from prefine.training.blocks import MixingConfig
    from prefine.training.trainer import PreferenceTrainer


@dataclass
class Sources:
    """Which source each row comes from, and the rows that training shall serve.

    Attributes:
        names: Of the sources.
        positions: For each, its rows in the training data.
        of_record: Record -> number of its source.
        target: Rows of the target set.
        facts: The same for a reader.
    """

    names: tuple[str, ...]
    positions: tuple[tuple[int, ...], ...]
    of_record: Mapping[str, int]
    target: EncodedRows
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, rows: EncodedRows, view: Any, tag: str, target: EncodedRows) -> "Sources":
        """Sort rows by a tag of their record.

        Args:
            rows: What is trained on.
            view: The view behind them.
            tag: Name of the tag.
            target: Rows of the target set.

        Raises:
            RecordError: If a record lacks the tag, or all have the same.
        """
        named: dict[str, str] = {}
        for record, tags in zip(view.rows["record"], view.rows["tags"], strict=True):
            known = json.loads(tags)
            if tag not in known:
                raise RecordError(
                    f"mixing.by: record {record} has no tag {tag!r}, so it belongs to no source. "
                    f"Its tags: {', '.join(sorted(known)) or 'none'}."
                )
            named[record] = str(known[tag])
        encoded = [str(row["record"]) for row in rows.epochs(0)]
        names = tuple(sorted({named[record] for record in encoded}))
        if len(names) < 2:
            raise RecordError(
                f"mixing.by: all records have one {tag} ({', '.join(names)}), so there is nothing "
                "to mix."
            )
        number = {name: at for at, name in enumerate(names)}
        of_record = {record: number[named[record]] for record in encoded}
        found: list[list[int]] = [[] for _ in names]
        for position, record in enumerate(encoded):
            found[of_record[record]].append(position)
        counts = Counter(named[record] for record in encoded)
        facts = {"sources": dict(sorted(counts.items())), "target rows": len(target)}
        return cls(names, tuple(map(tuple, found)), of_record, target, facts)


class Mixing:
    """Weighs or draws the rows of a step by their source, and moves the weights every few steps.

    Weighed, a source's rows weigh its share of the mixture over its share of the data, so that the
    mean of a step is that of the mixture in expectation, and an epoch still holds every row. Drawn,
    as many rows as a step had are taken in proportion to the mixture (see `resampling`), and an
    epoch is so many draws.

    Args:
        sources: Where rows come from.
        config: How often and how far weights move.
        seed: Of the rows that are probed.
    """

    def __init__(self, sources: Sources, config: "MixingConfig", seed: int = 0) -> None:
        self.sources, self.config, self.seed = sources, config, seed
        options = {"eta": config.eta, "decay": config.decay, "floor": config.floor}
        self.state = GradientMixing(len(sources.names), **options)
        self.draws = SourceDraws(sources.positions, seed) if config.how == "resample" else None

    @property
    def shown(self) -> dict[str, float]:
        """The weights, for logs."""
        named = zip(self.sources.names, self.state.weights, strict=True)
        return {f"mixing/{name}": float(weight) for name, weight in named}

    def before_step(
        self, trainer: "PreferenceTrainer", batches: list[list[Batch]]
    ) -> list[list[Batch]]:
        """Move the weights if this step is one to move before, then weigh or draw its rows.

        Args:
            trainer: Whose step it is.
            batches: The step's micro-batches, each in parts.

        Returns:
            The micro-batches to train on.
        """
        step = trainer.state.global_step
        if step % self.config.every == 0:
            self.move(trainer, step)
        if self.draws is not None:
            return [
                self._drawn(trainer, self.draws, batch, step, n) for n, batch in enumerate(batches)
            ]
        self._weigh([part for batch in batches for part in batch])
        return batches

    def _drawn(
        self,
        trainer: "PreferenceTrainer",
        draws: SourceDraws,
        batch: Sequence[Batch],
        step: int,
        number: int,
    ) -> list[Batch]:
        """Return as many rows as a micro-batch has, drawn by source."""
        trained = trainer.train_dataset
        assert isinstance(trained, EncodedRows)
        count = sum(int((~part["rows"]["absent"]).sum()) for part in batch)
        if not count:
            return list(batch)
        at = draws.draw(self.state.weights, count, step=step, part=number)
        rows = [trained[int(trainer.state.epoch or 0), position, True] for position in at]
        parts: Any = collate_in_parts(trainer.adapter, trainer.token_budget, rows)
        return [trainer._prepare_input(part) for part in parts]

    def _weigh(self, parts: Sequence[Batch]) -> None:
        counts = torch.tensor([len(rows) for rows in self.sources.positions]).double()
        factor = self.state.weights.double() / (counts / counts.sum())
        for part in parts:
            at = [self.sources.of_record[record] for record in part["records"]]
            weight = part["rows"]["weight"]
            part["rows"]["weight"] = weight * factor[at].to(weight)

    def move(self, trainer: "PreferenceTrainer", step: int) -> None:
        """Compare the gradient of each source with the target's, on rows drawn for this step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        trained = trainer.train_dataset
        assert isinstance(trained, EncodedRows)
        epoch = int(trainer.state.epoch or 0)
        every = range(len(self.sources.target))
        target = self._gradient(trainer, self.sources.target, every, 0, generator)
        products, norms = list[Tensor](), list[Tensor]()
        for positions in self.sources.positions:
            found = self._gradient(trainer, trained, positions, epoch, generator)
            products.append(found @ target)
            norms.append(found.norm())
        scores = aligned(torch.stack(products), torch.stack(norms), target.norm())
        self.state.step(scores.cpu())

    def _gradient(
        self,
        trainer: "PreferenceTrainer",
        rows: EncodedRows,
        positions: Sequence[int],
        epoch: int,
        generator: torch.Generator,
    ) -> Tensor:
        """Return [P] the gradient of the mean loss of a few rows."""
        order = torch.randperm(len(positions), generator=generator)[: self.config.rows]
        some = [rows[epoch, positions[int(at)], True] for at in order]
        batches: Any = collate_in_parts(trainer.adapter, trainer.token_budget, some)
        parts: list[Batch] = [trainer._prepare_input(part) for part in batches]
        totals = total_weights(parts, trainer.terms)
        model = trainer.policy
        learnt = [p for p in model.parameters() if p.requires_grad]
        total = torch.zeros(sum(p.numel() for p in learnt), device=learnt[0].device)
        for part in parts:
            with trainer.compute_loss_context_manager():
                loss = _loss(trainer, model, part, totals)
            found = torch.autograd.grad(loss, learnt, allow_unused=True)
            total += torch.cat(
                [
                    torch.zeros_like(p).flatten().float() if g is None else g.flatten().float()
                    for p, g in zip(learnt, found, strict=True)
                ]
            )
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        drawn = {} if self.draws is None else {"drawn": list(self.draws.counts)}
        return self.state.state_dict() | drawn

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self.state.load_state_dict(state)
        if self.draws is not None:
            self.draws.load(state.get("drawn"))


def _loss(trainer: "PreferenceTrainer", model: nn.Module, part: Batch, totals: Tensor) -> Tensor:
    """The part's share of the mean loss of a probe; nothing is logged or observed."""
    policy, reference = trainer.scores(model, part)
    loss = policy.value.sum() * 0.0
    for t, term in enumerate(trainer.terms):
        scores = term_rows(part, term, policy, reference)
        weight = weight_of(scores)
        losses = torch.where(weight > 0, term.objective(scores), 0.0)
        share = (losses * weight.to(losses.dtype)).sum() / totals[t].clamp(min=1e-12)
        loss = loss + term.coefficient * share
    return loss


def refuse_mixing(declared: Any, world_size: int) -> None:
    """Refuse what weights of rows have no meaning for.

    Raises:
        ConfigError: If rows of a step depend on each other, or there are several processes.
    """
    if declared.coupled:
        raise ConfigError(
            "mixing weighs rows by their source, but this objective compares the rows of a step "
            "with each other, where weights have no meaning. Take a row-wise objective."
        )
    if world_size > 1:
        raise ConfigError(
            "mixing compares gradients of whole sources, which are not gathered over processes. "
            "Start one process."
        )
