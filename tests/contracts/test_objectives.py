"""What every registered objective promises, whatever its formula.

A new objective needs no line here: it is fed from what it declares.
"""

import inspect
import itertools
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

import prefine.objectives
from prefine.errors import ConfigError
from prefine.objectives.declare import Stateful, spec
from prefine.objectives.options import Option, options_of
from prefine.objectives.registry import build, describe, formula, names
from prefine.scores import Scores

COUNTS = {"point": 1, "pair": 2, "list": 4}
TOGETHER: dict[tuple[str, str], dict[str, Any]] = {
    ("bradley_terry", "tie_width"): {"ties": "rao_kupper"},
    ("bradley_terry", "tie_odds"): {"ties": "davidson"},
    ("bradley_terry", "tie_weight"): {"ties": "square"},
    ("dpo_ties", "odds"): {"model": "davidson"},
    ("f_dpo", "alpha"): {"divergence": "alpha"},
}
"""Options that are read only together with others."""

SETTINGS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in names()] + [
    ("dpo", {"label_noise": 0.2}),
    ("ipo", {"average": False}),
    ("aot", {"paired": False, "label_noise": 0.1}),
    ("plackett_luce", {"reference": False, "top_k": 2}),
    ("robust_em", {"loss": "bradley_terry", "num_raters": 3}),
    ("bradley_terry", {"margin": "subtract", "ties": "soft", "centre": 0.01}),
    ("bradley_terry", {"margin": "scale", "ties": "rao_kupper", "tie_width": 0.5}),
    ("bradley_terry", {"ties": "square", "tie_weight": 0.3, "label_noise": 0.1}),
    ("bradley_terry", {"ties": "davidson", "tie_odds": 0.5, "margin": "subtract"}),
    ("dpo_ties", {"model": "davidson"}),
    ("f_dpo", {"divergence": "forward_kl"}),
    ("f_dpo", {"divergence": "js"}),
    ("f_dpo", {"divergence": "alpha", "alpha": 0.3}),
    ("sppo", {"graded": True}),
    ("bco", {"balanced": False}),
]
every = pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
each_name = pytest.mark.parametrize("name", names())


def example(loss: Any, rows: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Scores:
    """Scores that hold everything `loss` may read."""
    generator = torch.Generator().manual_seed(seed)
    declared = spec(loss)
    count = COUNTS[declared.data]

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    policy, reference = 3 * random(rows, count) - 20, 3 * random(rows, count) - 20
    length = torch.randint(1, 9, (rows, count), generator=generator).to(dtype)
    fields: dict[str, Any] = {
        "prob": random(rows).sigmoid().to(dtype),
        "margin": random(rows).abs().to(dtype),
        "tie": torch.arange(rows) % 3 == 1,
        "utility": random(rows, count).sort(1, descending=True).values.round().to(dtype),
        "label": random(rows, count) > 0,
    }
    longest = int(length.max())
    mask = torch.arange(longest) < length[..., None]
    elements = {
        name: -random(rows, count, longest).abs().to(dtype)
        for name in sorted(declared.needs.elements)
    }
    columns = {"rater": torch.zeros(rows, dtype=torch.long) - torch.arange(rows) % 2}
    if "mismatched" in declared.needs.roles:
        columns["mismatched_log_ratio"] = 2 + random(rows).to(dtype)
    return Scores(
        policy.to(dtype),
        length,
        reference=reference.to(dtype) if declared.needs.reference else None,
        weight=torch.ones(rows, dtype=torch.float64),
        columns=columns,
        elements={**elements, "mask": mask} if elements else {},
        **{name: value for name, value in fields.items() if name in declared.needs.fields},
    )


def part(scores: Scores, *at: int) -> Scores:
    return scores.rows(torch.tensor(at))


# --- values ---


@every
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_one_finite_loss_a_row_in_float32_or_wider(name, options, given, expected):
    loss = build(name, options)
    losses = loss(example(loss, dtype=given))
    assert losses.shape == (5,)
    assert losses.dtype == expected
    assert losses.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_finite_at_extremes(name, options, dtype):
    """Log-ratios of +-1e4 nats in every combination; a run must not die of one odd row."""
    loss = build(name, options)
    count = COUNTS[spec(loss).data]
    corners = torch.tensor(list(itertools.product([-1e4, 0.0, 1e4], repeat=count)), dtype=dtype)
    scores = example(loss, rows=len(corners), dtype=dtype)
    policy = corners.requires_grad_()
    reference = None if scores.reference is None else torch.zeros_like(corners)
    elements = {name: values * 1e3 for name, values in scores.elements.items() if name != "mask"}
    leaves = [policy, *(values.requires_grad_() for values in elements.values())]
    if elements:
        elements["mask"] = scores.elements["mask"]
    losses = loss(replace(scores, policy=policy, reference=reference, elements=elements))
    losses.sum().backward()
    assert losses.isfinite().all()
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@every
def test_gradient_is_the_derivative(name, options):
    """Except through the posterior of `robust_em`, which is held still by design."""
    loss = build(name, options)
    scores = example(loss)
    if name == "robust_em":
        posterior = loss.posterior(scores)
        loss._posterior = lambda *_: posterior
    policy = scores.policy.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(replace(scores, policy=values)), policy)


# --- rows ---


@every
def test_rows_are_independent_or_declared_coupled(name, options):
    loss = build(name, options)
    scores = example(loss, rows=6)
    whole = loss(scores)
    split = torch.cat(
        [loss(part(scores, 0, 1, 2)), loss(part(scores, 3)), loss(part(scores, 4, 5))]
    )
    assert torch.allclose(whole, split, rtol=0, atol=1e-12) is not spec(loss).coupled


@every
def test_the_order_of_rows_does_not_matter(name, options):
    loss = build(name, options)
    scores, order = example(loss, rows=6), (3, 0, 5, 1, 4, 2)
    moved, kept = loss(part(scores, *order)), loss(scores)
    if spec(loss).coupled:
        torch.testing.assert_close(moved.sort().values, kept.sort().values)
    else:
        torch.testing.assert_close(moved, kept[torch.tensor(order)], rtol=0, atol=1e-12)


@every
def test_only_what_is_declared_is_read(name, options):
    """Anything else in the scores may be anything at all."""
    loss = build(name, options)
    scores, needs = example(loss), spec(loss).needs
    other = example(loss, seed=1)
    junk: dict[str, Any] = {
        "prob": torch.rand(5),
        "tie": torch.ones(5, dtype=torch.bool),
        "margin": torch.full((5,), torch.nan),
        "utility": torch.zeros_like(scores.policy),
        "label": torch.zeros_like(scores.policy, dtype=torch.bool),
    }
    changes = {field: value for field, value in junk.items() if field not in needs.fields}
    changes["weight"] = torch.rand(5)
    if not needs.reference:
        changes["reference"] = other.policy
    columns = {key: scores.columns[key] for key in needs.columns} | {"unknown": torch.ones(5)}
    assert loss(replace(scores, columns=columns, **changes)).equal(loss(scores))


@every
def test_every_declared_field_is_read(name, options):
    loss = build(name, options)
    scores, needs = example(loss, rows=8), spec(loss).needs
    if isinstance(loss, Stateful):  # a statistic that has seen nothing may hide what it stands for
        loss.update(loss.observe(scores))
    changed: dict[str, Any] = {
        "prob": torch.linspace(0, 1, 8).double(),
        "tie": None if scores.tie is None else ~scores.tie,
        "margin": torch.linspace(3, 5, 8).double(),
        "utility": torch.zeros_like(scores.policy),
        "label": None if scores.label is None else ~scores.label,
    }
    for field in needs.fields:
        assert not loss(replace(scores, **{field: changed[field]})).equal(loss(scores)), field
    for name in needs.elements:
        changed_one = {**scores.elements, name: 3 * scores.elements[name] - 1}
        assert not loss(replace(scores, elements=changed_one)).equal(loss(scores)), name
    if needs.reference and "reference_log_prob" not in needs.elements:
        reference = scores.reference + torch.linspace(-9, 9, scores.reference.numel()).view_as(
            scores.reference
        )
        assert not loss(replace(scores, reference=reference)).equal(loss(scores))


@every
def test_what_is_observed_before_the_losses_reads_no_score(name, options):
    """Nothing has been scored by then: such a statistic would stand still while training runs."""
    loss = build(name, options)
    if not isinstance(loss, Stateful) or loss.when == "after":
        return
    scores = example(loss)
    unscored = replace(
        scores,
        policy=torch.full_like(scores.policy, torch.nan),
        reference=torch.full_like(scores.policy, torch.nan),
    )
    before, after = loss.observe(scores), loss.observe(unscored)
    assert all(before[key].equal(after[key]) for key in before)


# --- purity ---


@every
def test_the_loss_has_no_side_effects(name, options):
    loss = build(name, options)
    scores = example(loss)
    before = [scores.policy.clone(), scores.length.clone()]
    state = json.dumps(loss.state_dict()) if isinstance(loss, Stateful) else ""
    first, second = loss(scores), loss(scores)
    assert first.equal(second)
    assert scores.policy.equal(before[0])
    assert scores.length.equal(before[1])
    if isinstance(loss, Stateful):
        loss.observe(scores)
        assert json.dumps(loss.state_dict()) == state


@every
def test_no_number_leaves_the_device(name, options):
    """Meta tensors hold no data, so `.item()` or a branch on a value would raise."""
    loss = build(name, options)
    if name == "robust_em":
        loss = loss.loss  # flips labels with `Scores.take`, which looks for absent responses

    def to_meta(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tensor.to("meta") for key, tensor in value.items()}
        return None if value is None else value.to("meta")

    scores = example(loss)
    fields = {field: to_meta(getattr(scores, field)) for field in scores.__dataclass_fields__}
    assert loss(Scores(**fields)).device.type == "meta"


# --- state ---


@each_name
def test_statistics_add_up_and_state_is_json(name):
    loss = build(name)
    if not isinstance(loss, Stateful):
        return
    scores = example(loss, rows=6)
    whole = loss.observe(scores)
    parts = [loss.observe(part(scores, 0, 1)), loss.observe(part(scores, 2, 3, 4, 5))]
    for key, value in whole.items():
        torch.testing.assert_close(value, parts[0][key] + parts[1][key], rtol=0, atol=1e-12)
        assert not value.requires_grad
    assert loss.when in ("before", "after")
    start = loss.state_dict()
    loss.update(whole)
    assert loss.state_dict() != start
    again = build(name)
    again.load_state_dict(json.loads(json.dumps(loss.state_dict())))
    assert again(scores).equal(loss(scores))


# --- the first step ---


def untrained(loss: Any, seed: int = 0) -> Scores:
    """Rows whose policy is the reference, with hard labels."""
    scores = example(loss, seed=seed)
    elements = dict(scores.elements)
    if "reference_log_prob" in elements:
        elements["reference_log_prob"] = elements["log_prob"]
    if "kl_reference" in elements:
        elements["kl_reference"] = torch.zeros_like(elements["kl_reference"])
    columns = dict(scores.columns)
    if "mismatched_log_ratio" in columns:
        columns["mismatched_log_ratio"] = torch.zeros_like(columns["mismatched_log_ratio"])
    distinct = torch.arange(COUNTS[spec(loss).data], 0, -1).double().expand_as(scores.policy)
    return replace(
        scores,
        policy=scores.policy if scores.reference is None else scores.reference,
        elements=elements,
        columns=columns,
        prob=None,
        utility=None if scores.utility is None else distinct,
    )


@each_name
def test_the_curve_starts_where_its_docstring_says(name):
    """Where the policy is the reference, the first loss is known: users compare it with theirs."""
    loss = build(name)
    if not spec(loss).needs.reference:
        return
    losses = torch.cat([loss(untrained(loss, seed)) for seed in range(4)])
    said = re.match(r"Starts at ([\d.]*\d)\b", describe(name)["curves"])
    if said:
        assert losses.tolist() == pytest.approx([float(said.group(1))] * len(losses), rel=1e-3)
    elif spec(loss).data != "list":
        assert losses.std() > 1e-6, "every run starts at the same loss: say which"


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("plackett_luce", math.factorial),
        ("ranklist", lambda count: 2 ** (count * (count - 1) / 2)),
        ("info_nca", lambda count: count),
        ("listwise_nca", lambda count: 4),
    ],
)
def test_where_lists_start(name, of, count):
    loss = build(name)
    scores = untrained(loss)
    part = scores.take(torch.arange(count).expand(len(scores.policy), -1))
    first = math.log(of(count))
    assert loss(part).tolist() == pytest.approx([first] * len(scores.policy))
    if count == 4 or name in ("plackett_luce", "ranklist"):
        assert f"{first:.3f}" in describe(name)["curves"]


# --- options and words ---


def outside(option: Option) -> list[Any]:
    """Values that an option must refuse."""
    limits = option.limits
    values: list[Any] = ["nonsense"] if option.kind in (int, float, bool) or option.choices else []
    if limits is not None:
        values += [bound - 1 for bound in (limits.above, limits.at_least) if bound is not None]
        values += [bound + 1 for bound in (limits.below, limits.at_most) if bound is not None]
        values += [bound for bound in (limits.above, limits.below) if bound is not None]
    return [*values, float("nan")] if option.kind is float else values


@each_name
def test_every_option_has_a_type_a_valid_default_and_refuses_the_rest(name):
    for option in options_of(getattr(prefine.objectives, name)).values():
        option.check(option.default)
        assert option.must_be, f"{option.name}: annotate it with a type that can be checked"
        assert outside(option)
        for value in outside(option):
            with pytest.raises(ConfigError, match=f"`{option.name}` must be"):
                build(name, {**TOGETHER.get((name, option.name), {}), option.name: value})


@each_name
def test_the_formula_shows_every_number_and_follows_every_switch(name):
    for option in options_of(getattr(prefine.objectives, name)).values():
        others = TOGETHER.get((name, option.name), {})
        if option.kind in (int, float):
            value = 7 if option.kind is int else 0.37 if option.name != "freeze_above" else 0.87
            value = 0.77 if option.name == "eta" else value
            text = formula(build(name, {**others, option.name: value}))
            assert f"{value:g}" in text, option.name
        elif option.kind is bool:
            texts = [formula(build(name, {option.name: value})) for value in (True, False)]
            assert texts[0] != texts[1]
        else:
            reads: dict[str, dict[str, Any]] = {
                "rao_kupper": {"tie_width": 0.5},
                "davidson": {"tie_odds": 0.5},
                "square": {"tie_weight": 0.5},
                "alpha": {"alpha": 0.5},
            }
            own = {} if name == "dpo_ties" else reads  # its odds have a default for each model
            texts = [
                formula(build(name, {**own.get(choice, {}), option.name: choice}))
                for choice in option.choices
            ]
            assert len(set(texts)) == len(option.choices)


@each_name
def test_the_docstring_has_its_sections(name):
    target = getattr(prefine.objectives, name)
    text = inspect.getdoc(target) or ""
    needed = ["Source:", "Curves:", "Pitfalls:", "Example:", ".. math::"]
    if not inspect.isclass(target):
        needed += ["Args:", "Returns:", "Raises:"]
        assert "[B]" in text
    for section in needed:
        assert section in text, f"{name} has no {section}"
    for option in options_of(target):
        assert re.search(rf"^ {{4}}{option}: ", text, re.MULTILINE), f"{option} is not explained"
