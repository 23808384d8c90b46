"""Which objective each of TRL 1.16's trainers and losses is here, with which options.

TRL's defaults are written out, because ours are often those of the paper: what a configuration
leaves out must not change what it trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefine.errors import ConfigError

Values = Mapping[str, Any]

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sft": {"learning_rate": 2e-5, "loss_type": "nll"},
    "reward": {"learning_rate": 1e-4, "center_rewards_coefficient": None},
    "dpo": {
        "learning_rate": 1e-6,
        "loss_type": ["sigmoid"],
        "loss_weights": None,
        "beta": 0.1,
        "label_smoothing": 0.0,
        "discopop_tau": 0.05,
        "ld_alpha": None,
        "use_weighting": False,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
    },
    "kto": {
        "learning_rate": 1e-6,
        "loss_type": "kto",
        "beta": 0.1,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
    },
    "cpo": {
        "learning_rate": 1e-6,
        "loss_type": "sigmoid",
        "beta": 0.1,
        "label_smoothing": 0.0,
        "cpo_alpha": 1.0,
        "simpo_gamma": 0.5,
        "alpha": 0.0,
    },
    "orpo": {"learning_rate": 1e-6, "beta": 0.1},
}
"""What TRL takes where a configuration is silent, of the keys that shape a loss."""

PAIR_LOSSES: Mapping[str, tuple[str, dict[str, str]]] = {
    "sigmoid": ("dpo", {"beta": "beta"}),
    "hinge": ("hinge", {"beta": "beta"}),
    "ipo": ("ipo", {"beta": "tau"}),
    "exo_pair": ("exo_preference", {"beta": "beta", "label_smoothing": "smoothing"}),
    "nca_pair": ("nca", {"beta": "beta"}),
    "robust": ("robust_dpo", {"beta": "beta", "label_smoothing": "label_noise"}),
    "sppo_hard": ("sppo", {"beta": "beta"}),
    "aot": ("aot", {"beta": "beta", "label_smoothing": "label_noise"}),
    "aot_unpaired": ("aot", {"beta": "beta", "label_smoothing": "label_noise"}),
    "apo_zero": ("apo_zero", {"beta": "beta"}),
    "apo_down": ("apo_down", {"beta": "beta"}),
    "discopop": ("discopop", {"beta": "beta", "discopop_tau": "temperature"}),
    "sigmoid_norm": ("length_normalised_dpo", {"beta": "beta"}),
    "sft": ("sft", {}),
}
"""`loss_type` of TRL's DPO -> objective, and which keys become which options."""

DIVERGENCES = {"forward_kl": "forward_kl", "js_divergence": "js", "alpha_divergence": "alpha"}
"""`f_divergence_type` other than the usual `reverse_kl`."""


@dataclass
class Loss:
    """The objective of a configuration.

    Attributes:
        objective: Its name here.
        options: Its options.
        notes: Key of TRL -> what became of it, where that needs a word.
    """

    objective: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: dict[str, str] = field(default_factory=dict[str, str])


def dpo_loss(values: Values) -> Loss:
    """The objective of `DPOConfig`."""
    given = _Given("dpo", values)
    kinds = given["loss_type"]
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ConfigError(f"loss_type must be a name or a list of names, got {kinds!r}.")
    if sorted(kinds) == ["sft", "sigmoid"]:
        return _with_likelihood(given, kinds)
    if len(kinds) != 1:
        raise ConfigError(
            f"loss_type {kinds}: name a loss of your own that joins them, with "
            "prefine.objectives.combine.weighted_sum; only DPO with SFT has a name (rpo)."
        )
    kind = str(kinds[0])
    if kind == "bco_pair":
        raise ConfigError(
            "loss_type bco_pair: BCO takes single responses here. Train `bco`; the points of your "
            "pairs are made for it."
        )
    if kind not in PAIR_LOSSES:
        raise ConfigError(
            f"loss_type {kind!r} has no counterpart. Known: {', '.join(PAIR_LOSSES)}."
        )
    objective, names = PAIR_LOSSES[kind]
    made = _changed(given, kind) or Loss(objective, given.options(names))
    if kind == "aot_unpaired":
        made.options["paired"] = False
    if kind == "exo_pair" and not given["label_smoothing"]:
        del made.options["smoothing"]
        made.notes["label_smoothing"] = "TRL refuses exo_pair without it; the paper's 0.001 is ours"
    for key in {"label_smoothing", "discopop_tau"} & values.keys() - names.keys():
        made.notes[key] = f"is not read by loss_type {kind}: TRL ignores it in silence"
    if given["loss_weights"] not in (None, [1], [1.0]):
        made.notes["loss_weights"] = "one loss needs no weight: it scales the learning rate"
    return made


def kto_loss(values: Values) -> Loss:
    """The objective of `KTOConfig`."""
    given = _Given("kto", values)
    if given["loss_type"] == "kto":
        names = ("beta", "desirable_weight", "undesirable_weight")
        return Loss("kto", given.options({name: name for name in names}))
    if given["loss_type"] != "apo_zero_unpaired":
        raise ConfigError(f"loss_type {given['loss_type']!r} of TRL's KTO has no counterpart.")
    given.refuse("desirable_weight", "undesirable_weight", objective="apo_zero_unpaired")
    return Loss("apo_zero_unpaired", given.options({"beta": "beta"}))


def cpo_loss(values: Values) -> Loss:
    """The objective of `CPOConfig`, whose `loss_type` also holds SimPO and AlphaPO."""
    given = _Given("cpo", values)
    beta, alpha = given["beta"], given["alpha"]
    if given["loss_type"] == "sigmoid":
        given.refuse("label_smoothing", "alpha", objective="cpo")
        return Loss("cpo", {"beta": beta, "likelihood_weight": given["cpo_alpha"]})
    if given["loss_type"] not in ("simpo", "alphapo"):
        raise ConfigError(f"loss_type {given['loss_type']!r} of TRL's CPO has no counterpart.")
    given.refuse("label_smoothing", objective="simpo")
    made = Loss("simpo", {"beta": beta, "gamma_over_beta": given["simpo_gamma"] / beta})
    if alpha:
        made.objective = "alphapo"
        made.options["alpha"] = alpha
    likelihood = 0.0 if given["loss_type"] == "alphapo" else given["cpo_alpha"]
    if likelihood:
        made.notes["cpo_alpha"] = (
            f"{likelihood:g} adds the likelihood of the chosen response to SimPO in TRL; join "
            "simpo and on_chosen(sft) with prefine.objectives.combine.weighted_sum"
        )
    return made


def orpo_loss(values: Values) -> Loss:
    """The objective of `ORPOConfig`."""
    return Loss("orpo", _Given("orpo", values).options({"beta": "odds_weight"}))


def reward_loss(values: Values) -> Loss:
    """The objective of `RewardConfig`."""
    centre = _Given("reward", values)["center_rewards_coefficient"]
    return Loss("reward", {} if centre is None else {"centre": centre})


def sft_loss(values: Values) -> Loss:
    """The objective of `SFTConfig`."""
    if _Given("sft", values)["loss_type"] != "nll":
        raise ConfigError(
            f"loss_type {values['loss_type']!r} of TRL's SFT has no counterpart: `sft` is the "
            "negative log-likelihood. Remove the key to train that."
        )
    return Loss("sft")


LOSSES: Mapping[str, Callable[[Values], Loss]] = {
    "sft": sft_loss,
    "reward": reward_loss,
    "dpo": dpo_loss,
    "kto": kto_loss,
    "cpo": cpo_loss,
    "orpo": orpo_loss,
}
"""TRL's trainer -> what reads its loss."""


class _Given:
    """What a configuration says of a loss, and TRL's default where it says nothing."""

    def __init__(self, method: str, values: Values) -> None:
        self._defaults, self._values = DEFAULTS[method], values

    def __getitem__(self, key: str) -> Any:
        return self._values.get(key, self._defaults[key])

    def options(self, names: Mapping[str, str]) -> dict[str, Any]:
        return {option: self[key] for key, option in names.items()}

    def changed(self, *keys: str) -> list[str]:
        return [key for key in keys if (self[key] or None) != (self._defaults[key] or None)]

    def refuse(self, *keys: str, objective: str) -> None:
        """Raise for a key that changes the loss in TRL and that an objective does not have."""
        for key in self.changed(*keys):
            raise ConfigError(
                f"{key}: {self[key]} changes the loss in TRL, and `{objective}` has no counterpart "
                "for it. Remove the key to train without, or write a loss of your own."
            )


CHANGES = ("ld_alpha", "use_weighting", "f_divergence_type")
"""Keys of `DPOConfig` that change every loss; each is an objective of its own with sigmoid."""


def _changed(given: _Given, kind: str) -> Loss | None:
    """Which objective the sigmoid loss becomes by a key that changes it."""
    changed = given.changed(*CHANGES)
    if not changed:
        return None
    if kind != "sigmoid" or len(changed) > 1:
        named = " with ".join(f"{key}: {given[key]}" for key in changed)
        raise ConfigError(
            f"{named} and loss_type {kind} change one loss together, which has no counterpart. "
            "Remove one, or write a loss of your own."
        )
    beta = {"beta": given["beta"]}
    if changed == ["ld_alpha"]:
        return Loss("ld_dpo", beta | {"tail_weight": given["ld_alpha"]})
    if changed == ["use_weighting"]:
        return Loss("wpo", beta | {"clamp": False})
    kind = str(given["f_divergence_type"])
    if kind not in DIVERGENCES:
        raise ConfigError(
            f"f_divergence_type {kind!r} has no counterpart. Known: {', '.join(DIVERGENCES)}."
        )
    made = Loss("f_dpo", beta | {"divergence": DIVERGENCES[kind]})
    if kind == "alpha_divergence":
        made.options["alpha"] = 1 - given["f_alpha_divergence_coef"]
    return made


def _with_likelihood(given: _Given, kinds: list[str]) -> Loss:
    """DPO with SFT, by their weights."""
    weights = given["loss_weights"] or [1.0, 1.0]
    if len(weights) != len(kinds):
        raise ConfigError(
            f"loss_weights has {len(weights)} numbers and loss_type {len(kinds)} losses."
        )
    given.refuse(*CHANGES, objective="rpo")
    by_kind = dict(zip(kinds, weights, strict=True))
    if not by_kind["sigmoid"]:
        raise ConfigError("loss_weights gives `sigmoid` no weight: what is left is `sft`.")
    made = Loss(
        "rpo",
        {"beta": given["beta"], "likelihood_weight": by_kind["sft"] / by_kind["sigmoid"]},
    )
    if by_kind["sigmoid"] != 1:
        made.notes["loss_weights"] = (
            "likelihood_weight is their ratio; what is left scales the learning rate by "
            f"{by_kind['sigmoid']:g}"
        )
    return made
