"""The reference: a named object with an identity.

Preferred in this order: none; cached scores; LoRA adapters off; a second frozen module.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from prefine.adapters import bind
from prefine.engine import ReferenceCache, weights_hash
from prefine.errors import ConfigError
from prefine.models.score import score_batch
from prefine.protocols import Adapter, Batch, Draw
from prefine.scores import ItemScores, Needs
from prefine.storage import cache_folder, json_hash
from prefine.training.distributed import best_device, main_first
from prefine.training.filling import fill, item_keys

NOT_IN_SCORES = ("_name_or_path", "transformers_version", "use_cache")
"""Fields of a model's configuration that say where it came from, not what it computes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the reference is: printed, stored in the run, compared at step 0.

    Attributes:
        kind: `none`, `cached`, `adapter_off`, `module` or `moving`.
        name: What a person calls it, e.g. a model's name or "the initial policy".
        hash: Hash of its weights, or "" if there is none.
        is_initial_policy: True if log-ratios must be 0 before the first step.
    """

    kind: str
    name: str
    hash: str
    is_initial_policy: bool

    def __str__(self) -> str:
        known = f", weights {self.hash}" if self.hash else ""
        return "none" if self.kind == "none" else f"{self.name}, {self.kind}{known}"


class Reference(Protocol):
    """Scores a batch under the frozen reference."""

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    def __call__(
        self, batch: Batch, draw: Draw | None, needs: Needs, policy: nn.Module
    ) -> ItemScores:
        """Return the scores of the N items; `policy` is the wrapped policy."""
        ...


@dataclass(frozen=True)
class NoReference:
    """For objectives that need none."""

    identity: Identity = Identity("none", "none", "", False)

    def __call__(
        self, batch: Batch, draw: Draw | None, needs: Needs, policy: nn.Module
    ) -> ItemScores:
        """Refuse: there is nothing to score with."""
        raise ConfigError("The objective asks for reference scores, but the reference is `none`.")


class CachedReference:
    """Scores taken from a store that is filled before training.

    Args:
        cache: The store.
        identity: Whose scores they are.
    """

    def __init__(self, cache: ReferenceCache, identity: Identity) -> None:
        self.cache, self.identity = cache, identity

    def lookup(self, row: Mapping[str, Any]) -> list[float]:
        """Return the scores of a row's items."""
        return [self.cache[key] for key in item_keys(row)]

    def fill(
        self,
        rows: Sequence[Mapping[str, Any]],
        model: nn.Module,
        adapter: Adapter,
        *,
        batch_size: int,
        progress: bool = False,
        shard: int = 64,
        autocast: torch.dtype | None = None,
    ) -> int:
        """Score every item that the store lacks; see `filling.fill`.

        Args:
            rows: Encoded rows.
            model: The scorer.
            adapter: Lays rows out and scores them.
            batch_size: Rows at once.
            progress: Show a progress bar.
            shard: Chunks that are written at once.
            autocast: The 16-bit type that the policy computes in, or None: both must round alike.

        Returns:
            How many items were scored.
        """
        bind(model.eval(), adapter)
        device = next(model.parameters()).device.type

        def score(part: Sequence[Mapping[str, Any]]) -> list[list[float]]:
            with torch.autocast(device, autocast, enabled=autocast is not None):
                return score_batch(part, model, adapter)

        name = "reference scores" if progress else None
        return fill(self.cache, rows, score, batch_size=batch_size, progress=name, shard=shard)

    def __call__(
        self, batch: Batch, draw: Draw | None, needs: Needs, policy: nn.Module
    ) -> ItemScores:
        """Return the scores of the N items."""
        value = batch["reference"]
        return ItemScores(value, torch.ones_like(value))


class AdapterOff:
    """The policy with its LoRA adapters switched off: right only while they start at zero.

    After SFT with LoRA, "off" is the base model, not the policy that training starts from; then
    the adapters do not start at zero, and this refuses.

    Args:
        model: A PEFT model.
        name: What to call the base model.

    Raises:
        ConfigError: If the model has no adapters, or they already change its output.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        if not hasattr(model, "disable_adapter"):
            raise ConfigError(
                "reference=adapter_off needs a LoRA model. Use `lora`, or reference=cached."
            )
        moved = [
            name
            for name, tensor in model.named_parameters()
            if "lora_B" in name and bool(tensor.detach().abs().max() > 0)
        ]
        if moved:
            raise ConfigError(
                f"reference=adapter_off: {moved[0]} is not zero, so the model without adapters is "
                "not the policy that training starts from. Use reference=cached, or merge first."
            )
        self.model = model
        self.identity = Identity(
            "adapter_off", f"{name} without adapters", weights_hash(model), True
        )

    def __call__(
        self, batch: Batch, draw: Draw | None, needs: Needs, policy: nn.Module
    ) -> ItemScores:
        """Return the scores of the N items."""
        with torch.no_grad(), self.model.disable_adapter(), evaluating(policy):  # type: ignore[operator]
            return policy(batch=batch, draw=draw, needs=needs)


class ModuleReference:
    """A second module, frozen.

    Args:
        model: The module; it is bound to the adapter and frozen here.
        adapter: The adapter that scores it.
        name: What to call it.
        is_initial_policy: True for a copy of the policy before training.
    """

    def __init__(
        self, model: nn.Module, adapter: Adapter, name: str, *, is_initial_policy: bool
    ) -> None:
        self.model = bind(model, adapter).requires_grad_(False).eval()
        self.identity = Identity("module", name, weights_hash(model), is_initial_policy)

    def __call__(
        self, batch: Batch, draw: Draw | None, needs: Needs, policy: nn.Module
    ) -> ItemScores:
        """Return the scores of the N items."""
        device = next(policy.parameters()).device
        if next(self.model.parameters()).device != device:
            self.model.to(device)
        with torch.no_grad():
            return self.model(batch=batch, draw=draw, needs=needs)


def choose_reference(
    wish: str,
    *,
    needed: bool,
    model: nn.Module,
    adapter: Adapter,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    load: Callable[[str], nn.Module],
    elements: bool = False,
    at_hand: Callable[..., ModuleReference] = ModuleReference,
    autocast: torch.dtype | None = None,
    progress: bool = False,
) -> tuple[Reference, Callable[[Mapping[str, Any]], list[float]] | None]:
    """Pick the reference of a run.

    Args:
        wish: `auto`, `none`, `cached`, `adapter_off`, `module`, or the name of a model.
        needed: Whether the objective reads reference scores.
        model: The policy before training.
        adapter: Scores both.
        name: What to call the policy.
        rows: Every row that will be scored, for the cache.
        load: Loads a model by name.
        elements: Whether more than one number per response is read of the reference; a cache holds
            no more, so that the reference must be at hand.
        at_hand: Makes a reference of a module: `ModuleReference`, or one that moves, which must
            stay at hand, too.
        autocast: The 16-bit type that the policy computes in, if its weights are wider.
        progress: Show progress while the cache is filled.

    Returns:
        The reference, and the function that looks up a row's cached scores, if they are cached.

    Raises:
        ConfigError: If a reference was named that the objective does not use, or that cannot give
            what it reads.
    """
    is_moving = at_hand is not ModuleReference
    if not needed:
        if wish not in ("auto", "none"):
            raise ConfigError(
                f"reference={wish}: this objective uses no reference, so the option would do "
                "nothing. Remove it."
            )
        if is_moving:
            raise ConfigError(
                "reference_update: this objective uses no reference, so nothing would move. "
                "Remove it."
            )
        return NoReference(), None
    if wish == "none":
        raise ConfigError(
            "reference=none: this objective compares the policy with a reference. Leave it at "
            "auto, or choose an objective without one, such as simpo."
        )
    initial = f"initial policy {name}"
    if is_moving and wish in ("cached", "adapter_off"):
        raise ConfigError(
            f"reference={wish} cannot move with the policy. Leave it at auto, or use module."
        )
    if wish == "adapter_off":
        return AdapterOff(model, name), None
    if wish == "cached" and elements:
        raise ConfigError(
            "reference=cached holds one number per response, but this objective reads the "
            "reference token by token. Leave it at auto, or use module or adapter_off."
        )
    if wish == "cached" and not adapter.deterministic:
        raise ConfigError(
            "reference=cached holds one number per response, but what is drawn for a response is "
            "new in every epoch. Set denoising.fixed_draws, or leave reference at auto."
        )
    stays_at_hand = elements or is_moving or not adapter.deterministic
    if wish == "auto" and stays_at_hand and not is_moving and hasattr(model, "disable_adapter"):
        return AdapterOff(model, name), None
    if wish == "module" or (wish == "auto" and stays_at_hand):
        twin = copy.deepcopy(model)
        return at_hand(twin, adapter, initial, is_initial_policy=True), None
    if wish in ("auto", "cached"):
        scorer, who, is_initial = model, initial, True
    else:
        scorer, who, is_initial = load(wish), wish, False
    if stays_at_hand:
        return at_hand(scorer, adapter, who, is_initial_policy=is_initial), None
    without_dropout(scorer)
    weights = weights_hash(scorer)
    dtype = str(next(scorer.parameters()).dtype)
    fingerprint = {**adapter.fingerprint(), "dtype": dtype, "config": config_hash(scorer)}
    if autocast is not None:
        fingerprint["autocast"] = str(autocast)
    identity = Identity("cached", who, weights, is_initial)
    with main_first():  # the others find its shards on disk
        cached = CachedReference(ReferenceCache(cache_folder(), weights, fingerprint), identity)
        scorer.to(best_device())
        cached.fill(rows, scorer, adapter, batch_size=8, progress=progress, autocast=autocast)
    return cached, cached.lookup


def config_hash(model: nn.Module) -> str:
    """Hash what the weights alone do not say, e.g. the base of rotary positions."""
    config: Any = getattr(model, "config", None)
    fields = dict(config.to_dict() if hasattr(config, "to_dict") else config or {})
    said = {key: value for key, value in fields.items() if key not in NOT_IN_SCORES}
    return json_hash(json.loads(json.dumps(said, default=str)))


def without_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0.

    A policy scored twice (coupled objectives, a reference that is the policy with adapters off)
    must give the same numbers twice, and log-ratios must start at 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout", "resid_dropout", "dropout_prob"):
            if isinstance(vars(module).get(name), float):
                setattr(module, name, 0.0)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


__all__ = [
    "AdapterOff",
    "CachedReference",
    "Identity",
    "ModuleReference",
    "NoReference",
    "Reference",
    "evaluating",
]
