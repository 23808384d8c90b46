"""Objectives by name: built from options, described for tables, written out as a formula.

`prefine.objectives.__all__` is the list; nothing else has to be kept in step with it.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import prefine.objectives as objectives
from prefine.errors import ConfigError
from prefine.objectives.declare import Loss, Spec, Stateful, name_of, spec
from prefine.objectives.options import Option, check_options, nearest, options_of

OTHER_NAMES = {
    "bt": "bradley_terry",
    "reward": "bradley_terry",
    "cdpo": "dpo with `label_noise`",
    "conservative_dpo": "dpo with `label_noise`",
    "sigmoid": "dpo",
    "ln_dpo": "length_normalised_dpo",
    "sigmoid_norm": "length_normalised_dpo",
    "rdpo": "robust_dpo, or length_regularised_dpo (R-DPO)",
    "r_dpo": "length_regularised_dpo",
    "robust": "robust_dpo",
    "dpo_positive": "dpop",
    "slic": "slic_hf",
    "exo_pair": "exo_preference",
    "exo_pref": "exo_preference",
    "exo_rw": "exo_reward",
    "nca_pair": "nca",
    "infonca": "info_nca",
    "sppo_hard": "sppo",
    "lrml": "discopop",
    "bco_pair": "bco (points)",
    "fdpo": "f_dpo",
    "tdpo": "tdpo2",
    "dpo_rk": "dpo_ties",
    "dpo_d": 'dpo_ties with `model="davidson"`',
    "aot_paired": "aot",
    "aot_unpaired": "aot with `paired=False`",
    "listmle": "plackett_luce with `reference=False`",
    "pl": "plackett_luce",
    "ranknet": "ranklist",
    "rank_list": "ranklist",
    "lipo_lambda": "lipo",
    "lambdaloss": "lipo",
    "dpo_gamma": "gamma_dpo",
    "nll": "sft",
    "re_po": "robust_em",
    "repo": "robust_em",
    "steerlm": "info_nca with `beta=1` and `temperature=1`, the sampler as reference",
    "lcpo": "robust_em",
}
"""Names that people look for, and what prefine calls the thing."""

NOTATION = {
    "h": "h = log pi(y|x) - log ref(y|x)",
    "l": "l = log pi(y|x)",
    "r": "r = reward(x, y)",
    "n": "n = scored units of y",
    "p": "p = the row's soft label, 1 where it has none",
    "m": "m = the row's margin",
    "z": "z = max(0, mean h of the step's mismatched pairs)",
}
"""Meaning of the letters of formulas; `_w` is the better response, `_l` the worse."""


def names() -> list[str]:
    """Return the names of all objectives.

    Example:
        >>> "dpo" in names()
        True
    """
    return sorted(objectives.__all__)


def build(name: str, options: Mapping[str, Any] | None = None) -> Loss:
    """Return an objective with its options bound and checked.

    An objective that takes another one, as `robust_em` does, has it as an option too: its name, or
    a mapping of its `name` and options.

    Args:
        name: One of `names()`, with `-` or `_`, or `"module:attribute"` for one of your own.
        options: Values of its options; the rest keep their defaults.

    Raises:
        ConfigError: If a name is unknown, or an option is unknown, missing, or of a wrong type or
            range. The message gives the nearest known name.
        ObjectiveError: If what `module:attribute` names is not a declared objective.

    Example:
        >>> build("dpo", {"beta": 0.2}).keywords
        {'beta': 0.2}
        >>> formula(build("robust_em", {"loss": {"name": "simpo", "beta": 2.5}})) != ""
        True
        >>> build("sipmo")
        Traceback (most recent call last):
        prefine.errors.ConfigError: There is no objective `sipmo`. Did you mean `simpo`?
    """
    target, given = _find(name), dict(options or {})
    inner = {
        key: _build_inner(given.pop(key, None), value) for key, value in _inner(target).items()
    }
    check_options(target, given)
    missing = [o.name for o in options_of(target).values() if o.is_required and o.name not in given]
    if missing:
        raise ConfigError(f"{name} needs a value for `{'`, `'.join(missing)}`.")
    if isinstance(target, type):
        loss = target(**inner, **given)
    else:
        loss = partial(target, **given) if given else target
    spec(loss)  # raises where the loss is not declared, or its options contradict each other
    return cast(Loss, loss)


def formula(loss: Any) -> str:
    """Return the exact loss of a row as text, with the values of its options.

    Example:
        >>> formula(build("kto", {"beta": 0.2})).split("; mean over rows; ")[0]
        'desirable: 1 sigma(0.2 (z - h)); undesirable: 1 sigma(0.2 (h - z))'
    """
    declared = spec(loss)
    if not declared.formula:
        keywords = getattr(loss, "keywords", {})
        bound = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        return f"{name_of(loss)}({bound}), which gives no formula"
    letters = [
        k for k in NOTATION if re.search(rf"(?<![A-Za-z_]){k}(?![A-Za-z])", declared.formula)
    ]
    over = "rows" if declared.per == "row" else "rows weighted by n: over all scored units"
    return f"{declared.formula}; mean over {over}; " + ", ".join(NOTATION[k] for k in letters)


def describe(name: str) -> dict[str, Any]:
    """Return everything a table says of an objective, as JSON values.

    Returns:
        `name`, `other_names`, `summary`, `data`, `kind` (`"row-wise"`, `"stateful"` or
        `"coupled"`), `per`, `reference`, `fields`, `columns`, `roles`, `formula` (with default
        values), `math` (LaTeX, one string a display), `defaults`, `options` (by name: `default`,
        `must_be`, `usual`, `text`), `beta_range` (usual values of `beta`, or None), `curves` (what
        a healthy run looks like), `pitfalls` and `source`.

    Raises:
        ConfigError: If there is no such objective.

    Example:
        >>> entry = describe("dpo")
        >>> entry["data"], entry["reference"], entry["defaults"]
        ('pair', True, {'beta': 0.1, 'label_noise': 0.0})
        >>> entry["options"]["label_noise"]["must_be"], entry["beta_range"]
        ('a number, in [0, 0.5)', [0.01, 0.5])
    """
    target = _find(name)
    text = inspect.getdoc(target) or ""
    loss = build(name)
    declared = spec(loss)
    arguments = _arguments(_section(text, "Args"))
    options = {o.name: _option_entry(o, arguments) for o in options_of(target).values()}
    return {
        "name": name_of(target),
        "other_names": [
            other
            for other, said in OTHER_NAMES.items()
            if name_of(target) in re.findall(r"\w+", said)
        ],
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "data": declared.data,
        "kind": _kind(loss, declared),
        "per": declared.per,
        "reference": declared.needs.reference,
        "fields": sorted(declared.needs.fields),
        "columns": sorted(declared.needs.columns),
        "roles": sorted(declared.needs.roles),
        "formula": declared.formula,
        "math": _displays(text),
        "defaults": _inner(target) | {key: entry["default"] for key, entry in options.items()},
        "options": options,
        "beta_range": options.get("beta", {}).get("usual"),
        "curves": _words(text, "Curves"),
        "pitfalls": _words(text, "Pitfalls"),
        "source": _words(text, "Source"),
    }


def _find(name: str) -> Any:
    module, separator, attribute = name.partition(":")
    if separator:
        return _imported(module, attribute)
    spelled = name.replace("-", "_")
    if spelled in objectives.__all__:
        return getattr(objectives, spelled)
    key = spelled.lower()
    if key in OTHER_NAMES:
        raise ConfigError(f"There is no objective `{name}`: it is {OTHER_NAMES[key]}.")
    raise ConfigError(f"There is no objective `{name}`. {nearest(key, objectives.__all__)}")


def _imported(module: str, attribute: str) -> Any:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`{module}:{attribute}`: {error}. Name a module that Python finds from here, such as "
            f"a file in this folder."
        ) from error
    if not hasattr(found, attribute):
        known = [key for key, value in vars(found).items() if hasattr(value, "spec")]
        raise ConfigError(f"{module} has no `{attribute}`. {nearest(attribute, known)}")
    return getattr(found, attribute)


def _inner(target: Any) -> dict[str, str]:
    """Return the parameters that take another objective, with the names of their defaults."""
    if not isinstance(target, type):
        return {}
    parameters = inspect.signature(target).parameters.values()
    return {p.name: name_of(p.default) for p in parameters if hasattr(p.default, "spec")}


def _build_inner(given: Any, default: str) -> Loss:
    if given is None or isinstance(given, str):
        return _build_inner({} if given is None else {"name": given}, default)
    if isinstance(given, Mapping):
        options = {str(key): value for key, value in cast("Mapping[Any, Any]", given).items()}
        name = str(options.pop("name", default))
        return build("bradley_terry" if name == "reward" else name, options)
    raise ConfigError(f"An inner objective must be a name, or a name with options, got {given!r}.")


def _kind(loss: Any, declared: Spec) -> str:
    if isinstance(loss, Stateful):
        return "stateful"
    return "coupled" if declared.coupled else "row-wise"


def _option_entry(option: Option, texts: Mapping[str, str]) -> dict[str, Any]:
    usual = option.limits.usual if option.limits else None
    return {
        "default": None if option.is_required else option.default,
        "must_be": option.must_be,
        "usual": list(usual) if usual else None,
        "text": texts.get(option.name, ""),
    }


def _words(text: str, title: str) -> str:
    """Return a section as one line."""
    return " ".join(_section(text, title).split())


def _section(text: str, title: str) -> str:
    """Return the indented body of a docstring's section; empty where there is none."""
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    return found.group(1).rstrip() if found else ""


def _arguments(body: str) -> dict[str, str]:
    entries = re.split(r"^ {4}(?=\w+:)", body, flags=re.MULTILINE)
    pairs = (entry.partition(":") for entry in entries if entry.strip())
    return {name.strip(): " ".join(rest.split()) for name, _, rest in pairs}


def _displays(text: str) -> list[str]:
    blocks = re.findall(r"^\.\. math:: ((?:.+\n?)+)", text, re.MULTILINE)
    return [" ".join(block.split()) for block in blocks]
