"""Denoising models: how well a sample is told from noise, at times and noise drawn per row.

Their likelihood is out of reach, so what is scored is minus half the squared error of a denoising
step, averaged over draws. It plays the part of a log-probability wherever an objective compares a
policy with a reference, if both see the same time and the same noise: that is what a `Draw` holds.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from prefine.adapters.bind import plain_forward
from prefine.adapters.inversion import Told, inverted
from prefine.adapters.rows import Items, lay_out_rows
from prefine.errors import ConfigError
from prefine.protocols import Batch, Draw, Prepared
from prefine.scores import ItemScores, Needs

Predict = Callable[[Any, Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""`predict(forward, noised, time, condition)`: how a family of denoisers is called."""

Row = Mapping[str, Any]
Noise = Literal["shared", "own", "inverted"]


def plain(forward: Any, noised: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
    """Call a module that takes a sample, a time and conditions by name, and returns a tensor."""
    return forward(noised, time, **condition)


@dataclass(frozen=True)
class Denoising:
    """Scores a sample by minus half the squared error of denoising it.

    Every item of a row is seen at the row's times and, unless `noise` says otherwise, with the
    row's noise; both come from the row's seed alone, so policy and reference see the same.

    Attributes:
        predict: How the model is called.
        prepare_view: Turns a view into rows (see `models.pictures`); None where rows are made by
            other means.
        reduction: Whether the squared error is the `mean` over the elements of a sample, or their
            `sum`. Beta means the same only with the same one: for a `sum` it is smaller by their
            number.
        noise: Whether the items of a row are noised alike (`shared`), each by its `own`, or each by
            what the policy itself would have to start from to draw it (`inverted`, see
            `inversion`): that costs `inversion_steps` + 1 forward passes of the policy.
        inversion_steps: Steps from a sample to its time under `inverted` noise.
        draws: Times and noises of each row, over which the error is averaged. Their times are
            spread evenly.
        fixed_draws: How many draws a row has over all epochs, or None for new ones in each. With a
            number, reference scores can be cached.
    """

    predict: Predict = plain
    prepare_view: Callable[[Any], Prepared] | None = None
    reduction: Literal["mean", "sum"] = "mean"
    noise: Noise = "shared"
    inversion_steps: int = 9
    draws: int = 1
    fixed_draws: int | None = None

    name: ClassVar[str]
    layout: ClassVar[str] = "samples"
    elements = frozenset({"error"})

    def __post_init__(self) -> None:
        """Refuse fixed draws of what changes with the policy."""
        if self.noise == "inverted" and self.fixed_draws is not None:
            raise ConfigError(
                "fixed_draws needs noise that stays: inverted noise is the policy's own and "
                "changes with every step. Leave fixed_draws out, or set noise to shared or own."
            )

    @property
    def deterministic(self) -> bool:
        """Whether a row is scored alike in every epoch, so that its reference may be cached."""
        return self.fixed_draws is not None

    @property
    def has_vector(self) -> bool:
        """A picture has none."""
        return False

    @property
    def unit(self) -> str:
        """What a score is: minus half a squared error, its mean or its sum."""
        return "-mse/2" if self.reduction == "mean" else "-sse/2"

    # ---------------------------------------------------------------- what a process says

    @abstractmethod
    def times(self, uniform: Tensor) -> Tensor:
        """Return times from numbers that are uniform in [0, 1), element by element."""

    @abstractmethod
    def shares(self, like: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares [M, 1, ...] of the sample and of the noise at times [M]."""

    @abstractmethod
    def target(self, sample: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return what the model is to predict of samples [M, ...] at times [M]."""

    @abstractmethod
    def noise_told(self, found: Tensor, noised: Tensor, time: Tensor) -> Tensor:
        """Return the noise that a prediction about noised samples [M, ...] amounts to."""

    def noised(self, sample: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return samples [M, ...] at times [M]."""
        signal, rest = self.shares(sample, time)
        return signal * sample + rest * noise

    def model_time(self, time: Tensor) -> Tensor:
        """Return times as the model takes them."""
        return time

    def weight_at(self, time: Tensor) -> Tensor:
        """Return the factor of the squared error at each time."""
        return torch.ones_like(time, dtype=torch.get_default_dtype())

    # ---------------------------------------------------------------- the adapter

    def prepare(self, view: Any) -> Prepared:
        """Encode a view: latents and embeddings, each once."""
        if self.prepare_view is None:
            raise TypeError("This adapter was made without a model that encodes a view.")
        return self.prepare_view(view)

    def split(self, rows: Sequence[Row], budget: int | None) -> list[list[Row]]:
        """Return rows in parts of at most `budget` elements of samples, at least one row each."""
        if budget is None:
            return [list(rows)]
        parts: list[list[Row]] = []
        filled = 0
        for row in rows:
            size = sum(np.size(sample) for sample in row["sample"]) * self.draws
            if not parts or filled + size > budget:
                parts.append([])
                filled = 0
            parts[-1].append(row)
            filled += size
        return parts

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Lay the items of B rows out as one batch."""
        return lay_out_rows(rows, _place, _units)

    def draw(self, batch: Batch, model: nn.Module) -> Draw:
        """Return `time` [N, D] and `noise` [N, D, ...], from the seeds of the rows.

        Inverted noise also depends on the model as it is now.
        """
        sample = batch["items"]["sample"]
        seeds, items = batch["seeds"].T.tolist()
        keys = list(zip(seeds, [k + 1 if self.noise == "own" else 0 for k in items], strict=True))
        drawn = {key: self._drawn(*key, sample) for key in dict.fromkeys(keys)}
        time = self.times(torch.stack([drawn[key][0] for key in keys])).to(sample.device)
        if self.noise == "inverted":
            like, told = self._ready(model, model, batch["items"], self.draws)
            noise = inverted(self, like, told, time.flatten()).view(*time.shape, *sample.shape[1:])
        else:
            noise = torch.stack([drawn[key][1] for key in keys]).to(sample.device)
        return Draw({"time": time, "noise": noise})

    def _drawn(self, seed: int, own: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """[D] numbers in [0, 1) and [D, ...] noise of a row; `own` is an item's, if not shared."""
        generator = torch.Generator().manual_seed(seed)
        spread = torch.rand(self.draws, generator=generator, dtype=torch.float64)
        if own:
            digest = hashlib.sha256(f"{seed}\0{own}".encode()).digest()
            generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        noise = torch.randn((self.draws, *like.shape[1:]), generator=generator, dtype=like.dtype)
        return (torch.arange(self.draws) + spread) / self.draws, noise

    def score(
        self,
        model: nn.Module,
        batch: Batch,
        draw: Draw | None = None,
        needs: Needs | None = None,
        against: Mapping[str, Tensor] | None = None,
    ) -> ItemScores:
        """Score the N items at the draw's times and noise.

        Returns:
            `value` [N] minus half the squared error, averaged over draws; `length` [N] ones: a
            denoising step; and where `needs` asks for it the element `error` [N, D] with `mask`.
        """
        assert draw is not None, "what is random is drawn before, once for policy and reference"
        time, noise = draw.tensors["time"], draw.tensors["noise"].flatten(0, 1)
        draws, time = time.shape[1], time.flatten()
        sample, told = self._ready(model, plain_forward(model), batch["items"], draws)
        found = told(self.noised(sample, noise, time), time)
        squared = (found - self.target(sample, noise, time)).square().flatten(1)
        error = squared.mean(1) if self.reduction == "mean" else squared.sum(1)
        error = (self.weight_at(time).to(error.dtype) * error).view(-1, draws)
        value = -error.mean(1) / 2
        wanted = frozenset() if needs is None else needs.elements
        elements = {"error": error, "mask": torch.ones_like(error, dtype=torch.bool)}
        return ItemScores(
            value, torch.ones_like(value), None, elements if "error" in wanted else {}
        )

    def _ready(
        self, model: nn.Module, forward: Any, items: Mapping[str, Any], draws: int
    ) -> tuple[Tensor, Told]:
        """Samples, one for each draw, and what the model says of them; `forward` is what is called.

        That is the model, or inside its own forward the plain one.
        """
        dtype = next(model.parameters()).dtype

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(draws, 0)

        condition = {
            name: repeated(value.to(dtype) if value.is_floating_point() else value)
            for name, value in items["condition"].items()
        }

        def told(noised: Tensor, time: Tensor) -> Tensor:
            found = self.predict(forward, noised.to(dtype), self.model_time(time), condition)
            return found if found.dtype == torch.float64 else found.float()

        return repeated(items["sample"]), told

    def fingerprint(self) -> dict[str, Any]:
        """Fields that change a score."""
        return {
            "adapter": self.name, "predict": self.predict.__name__, "reduction": self.reduction,
            "noise": self.noise, "draws": self.draws, "fixed_draws": self.fixed_draws,
            "inversion_steps": self.inversion_steps if self.noise == "inverted" else None,
        }  # fmt: skip


def _place(items: Items) -> Batch:
    """Samples [N, ...] and conditions by name [N, ...]; what noise is drawn from."""
    samples = [np.asarray(row["sample"][k]) for _, row, k in items]
    conditions = [row["condition"][k] for _, row, k in items]
    names = conditions[0].keys() if conditions else ()
    placed = {
        "sample": torch.from_numpy(np.stack(samples)) if samples else torch.empty(0),
        "condition": {
            name: torch.from_numpy(np.stack([np.asarray(c[name]) for c in conditions]))
            for name in names
        },
    }
    seeds = np.array([(int(row.get("seed", 0)), k) for _, row, k in items], dtype=np.int64)
    return {"items": placed, "seeds": seeds.reshape(-1, 2)}


def _units(row: Row, k: int) -> int:
    """One denoising step."""
    return 1
