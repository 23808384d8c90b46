"""Each rule on curves made by hand, on both sides of every threshold."""

from collections.abc import Callable
from typing import Any

import pytest

from prefine.audit import rules
from prefine.audit.curves import Curves
from prefine.audit.rules import data, drift, held_out, step_size
from prefine.audit.rules.reference import ROUNDING, ROUNDING_16_BIT
from prefine.errors import MissingMetric

Make = Callable[..., Curves]
SURPRISAL, TOKENS = 24.0, 15.0
"""Of the curves in conftest: nats and tokens of a response."""

LESS, MORE = 0.9, 1.1
"""Either side of a threshold, by more than the wobble of the curves."""


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_healthy_run_has_nothing(run: Make, rule: Any):
    curves = run(held_out={20: {"eval_rewards/accuracies": 0.7, "eval_loss": 0.62},
                           40: {"eval_rewards/accuracies": 0.73, "eval_loss": 0.58}})  # fmt: skip
    assert rule(curves) is None


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_healthy_reward_model_has_nothing(run: Make, rule: Any):
    gone = ("logps/chosen", "logps/rejected", "logps/mean_token", "log_ratio/chosen", "entropy",
            "log_ratio/rejected", "kl_reference", "ranking_accuracy")  # fmt: skip
    unseen = {s: {"eval_rewards/accuracies": 0.73, "eval_loss": 12 / (s - 2)} for s in (20, 40)}
    curves = run(without=gone, header={"unit": "reward"}, summary={"metrics": {}}, held_out=unseen)
    assert rule(curves) is None


# --- The reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["log_ratio/chosen", "log_ratio/rejected", "kl_reference"])
def test_reference(run: Make, name: str, low: bool):
    allowed = (ROUNDING_16_BIT if low else ROUNDING) * (1 + SURPRISAL)
    header = {"dtype": "bfloat16"} if low else {}

    def first(value: float) -> Curves:
        return run(shapes={name: lambda t: value if t == 0 else 0.1}, header=header)

    assert rules.reference_mistaken(first(LESS * allowed)) is None
    found = rules.reference_mistaken(first(-MORE * allowed))
    assert found is not None
    assert found.severity == "critical"
    assert "step 1" in str(found.evidence[0])


def test_reference_needs_the_first_step(run: Make):
    curves = run()
    late = Curves(curves.rows[3:], curves.config, curves.header)
    with pytest.raises(MissingMetric, match="step 1"):
        rules.reference_mistaken(late)


# --- The step ------------------------------------------------------------------------------------


def test_learning_rate_too_large_by_a_peak(run: Make):
    def peak(height: float) -> Curves:
        return run(shapes={"loss": lambda t: 0.69 * (height if 0.3 < t < 0.6 else 1 - 0.2 * t)})

    bound = step_size.LOSS_PEAK
    assert rules.learning_rate_too_large(peak(LESS * bound)) is None
    found = rules.learning_rate_too_large(peak(MORE * bound))
    assert found is not None
    assert found.severity == "serious"
    assert "1.7 times its first value" in found.what
    assert "(here 0.0003)" in found.remedy


def test_a_lucky_first_batch_is_no_low_point(run: Make):
    """Where nothing holds the first loss at log 2, it scatters as the others do."""
    low = {"loss": lambda t: 0.69 / (MORE * step_size.LOSS_PEAK) if t == 0 else 0.69}
    assert rules.learning_rate_too_large(run(shapes=low)) is not None
    assert rules.learning_rate_too_large(run(shapes=low, without=("kl_reference",))) is None


def test_one_odd_batch_is_no_instability(run: Make):
    spike = run(shapes={"loss": lambda t: 3.0 if 0.5 < t < 0.52 else 0.6})
    assert max(row["loss"] for row in spike.rows) > 2.9
    assert rules.learning_rate_too_large(spike) is None


@pytest.mark.parametrize(("steps", "ill"), [(4, False), (20, True)])
def test_a_few_odd_batches_of_a_long_run_are_no_instability(run: Make, steps: int, ill: bool):
    """Of 200 steps, the median is over 10: the run must be up there for more than half of them."""
    shapes = {"loss": lambda t: 3.0 if 0.5 < t < 0.5 + steps / 199 else 0.6}
    assert (rules.learning_rate_too_large(run(steps=200, shapes=shapes)) is not None) is ill


@pytest.mark.parametrize(
    ("far", "left", "right", "ill"),
    [
        (MORE * step_size.FAR, 1.0, 0.97 * step_size.ORDERED, True),
        (LESS * step_size.FAR, 1.0, 0.97 * step_size.ORDERED, False),
        (MORE * step_size.FAR, 0.93, 0.97 * step_size.ORDERED, False),
        (MORE * step_size.FAR, 1.0, 1.03 * step_size.ORDERED, False),
        (MORE * step_size.GONE, 0.5, 0.9, True),
        (LESS * step_size.GONE, 0.5, 0.9, False),
    ],
    ids=["far for nothing", "not far", "the loss fell", "pairs are ordered", "gone", "nearly gone"],
)
def test_learning_rate_too_large_by_distance(
    run: Make, far: float, left: float, right: float, ill: bool
):
    curves = run(
        shapes={
            "kl_reference": lambda t: 0.0 if t == 0 else far * TOKENS,
            "loss": lambda t: 0.69 if t == 0 else 0.69 * left,
            "rewards/accuracies": lambda t: right,
        }
    )
    found = rules.learning_rate_too_large(curves)
    assert (found is not None) is ill
    assert found is None or (found.severity == "critical") is (left == 1.0)


def test_distance_without_a_reference_is_from_the_start(run: Make):
    """The log-probability of a token at the start takes the reference's place."""

    def fallen(share: float) -> Any:
        end = share * step_size.GONE
        shapes = {"logps/mean_token": lambda t: -1.6 - end * min(1.0, 2 * t) * (t > 0.1)}
        return rules.learning_rate_too_large(run(shapes=shapes, without=("kl_reference",)))

    assert fallen(LESS) is None
    assert fallen(MORE) is not None


def still(share: float, loss: float = 0.995) -> dict[str, Any]:
    """Shapes of a policy whose log-ratios end at a share of what counts as moving."""
    end = share * step_size.NOTHING_MOVED * SURPRISAL
    return {
        "loss": lambda t: 0.69 * (1 if t == 0 else loss),
        "log_ratio/chosen": lambda t: 0.0 if t == 0 else end,
        "log_ratio/rejected": lambda t: 0.0,
        "kl_reference": lambda t: 0.0,
        "rewards/margins": lambda t: 0.0 if t == 0 else 0.5 * end,
    }


def test_learning_rate_too_small(run: Make):
    found = rules.learning_rate_too_small(run(shapes=still(LESS), wobble=0.001))
    assert found is not None
    assert found.severity == "mild"
    assert rules.learning_rate_too_small(run(shapes=still(MORE), wobble=0.001)) is None
    learnt = still(LESS, loss=1 - MORE * 1.2 * step_size.SMALLEST_FALL)
    assert rules.learning_rate_too_small(run(shapes=learnt, wobble=0.001)) is None


REWARD = {"header": {"unit": "reward"}, "without": ("kl_reference",), "wobble": 0.0}


def moving(
    by: float, margin: float = 0.3, shrunk: float = 1.0, flatter: float = 1.0
) -> dict[str, Any]:
    """Shapes of a reward model whose rewards all rise together, while the loss stays.

    Margins and gradients are divided by `shrunk` and `flatter` after the first tenth.
    """
    size = lambda t: margin / (shrunk if t > 0.1 else 1)  # noqa: E731
    return {
        "loss": lambda t: 0.7,
        "rewards/margins": size,
        "rewards/chosen": lambda t: by * (t > 0.1) + size(t) / 2,
        "rewards/rejected": lambda t: by * (t > 0.1) - size(t) / 2,
        "grad_norm": lambda t: 1.5 / (flatter if t > 0.1 else 1),
    }


@pytest.mark.parametrize(
    ("share", "fall", "shrunk", "flatter", "ill"),
    [
        (LESS, LESS, LESS, LESS, True),
        (MORE, LESS, LESS, LESS, False),
        (LESS, MORE, LESS, LESS, False),
        (LESS, LESS, MORE, LESS, False),
        (LESS, LESS, 1 / (MORE * step_size.SPREAD**2), LESS, False),
        (LESS, LESS, LESS, MORE, False),
    ],
    ids=["still", "rewards moved", "the loss moved", "margins shrank", "margins grew", "flatter"],
)
def test_a_reward_model_that_has_not_begun(
    run: Make, share: float, fall: float, shrunk: float, flatter: float, ill: bool
):
    """Labels that are noise leave accuracy where it was, too, but shrink the margins."""
    after = 0.7 * (1 - fall * step_size.SMALLEST_FALL)
    shapes = moving(
        share * step_size.STILL,
        shrunk=shrunk * step_size.SPREAD,
        flatter=flatter * step_size.STEEPNESS,
    )
    unseen = {20: {"eval_loss": 0.7}, 40: {"eval_loss": after}}
    curves = run(shapes=shapes, held_out=unseen, **REWARD)
    found = rules.learning_rate_too_small(curves)
    assert (found is not None) is ill
    if found is not None:
        assert any("grad_norm over steps" in str(evidence) for evidence in found.evidence)


@pytest.mark.parametrize(
    ("fall", "far", "ill"),
    [(LESS, LESS, True), (MORE, LESS, False), (LESS, MORE, False)],
    ids=["still", "the loss moved", "the policy moved"],
)
def test_a_policy_without_reference_that_has_not_begun(
    run: Make, fall: float, far: float, ill: bool
):
    end = far * step_size.DRIFTED
    shapes = {"logps/mean_token": lambda t: -1.6 - end * (t > 0.1)}
    unseen = {20: {"eval_loss": 0.7}, 40: {"eval_loss": 0.7 * (1 - fall * step_size.STILL_LOSS)}}
    curves = run(shapes=shapes, without=("kl_reference",), held_out=unseen, wobble=0.0)
    assert (rules.learning_rate_too_small(curves) is not None) is ill
    with pytest.raises(MissingMetric, match="eval_loss"):
        rules.learning_rate_too_small(run(without=("kl_reference",)))


@pytest.mark.parametrize(
    ("by", "margin", "ill"),
    [(MORE, 0.3, True), (LESS, 0.3, False), (MORE, 1.2, False)],
    ids=["far together", "not far", "far, and far apart"],
)
def test_rewards_that_wander_off_together(run: Make, by: float, margin: float, ill: bool):
    curves = run(shapes=moving(by * step_size.WANDERED, margin), **REWARD)
    found = rules.learning_rate_too_large(curves)
    assert (found is not None) is ill
    assert found is None or "wandered" in found.what


@pytest.mark.parametrize(
    ("share", "left", "ill"),
    [(MORE, 1.0, True), (LESS, 1.0, False), (MORE, 0.9, False)],
    ids=["dead", "low", "nothing left to learn"],
)
def test_a_gradient_that_died_is_a_broken_trunk(run: Make, share: float, left: float, ill: bool):
    shapes = {
        "grad_norm": lambda t: 2.0 / (share * step_size.DEAD) if 0.3 < t < 0.6 else 2.0,
        "loss": lambda t: 0.7 if t == 0 else 0.7 * left,
    }
    found = rules.learning_rate_too_large(run(shapes=shapes, **REWARD))
    assert (found is not None) is ill
    if found is not None:
        assert "The gradient died" in found.what
        assert "smallest grad_norm over steps 1" in str(found.evidence[-1])
    assert rules.learning_rate_too_large(run(shapes=shapes)) is None, "a policy has other signs"


def held(margin: float, ratio: float) -> dict[str, Any]:
    """Shapes that end at a reward margin and at a log-ratio margin, in shares of a response."""
    return {
        "rewards/margins": lambda t: margin * t**0.1,
        "log_ratio/chosen": lambda t: 0.0,
        "log_ratio/rejected": lambda t: -ratio * SURPRISAL * t**0.1,
    }


@pytest.mark.parametrize(
    ("margin", "ratio", "ill"),
    [(MORE, LESS, True), (LESS, LESS, False), (MORE, MORE, False)],
    ids=["content, unmoved", "not content", "moved"],
)
def test_beta_too_large(run: Make, margin: float, ratio: float, ill: bool):
    shapes = held(margin * step_size.SATISFIED, ratio * step_size.HELD)
    found = rules.beta_too_large(run(shapes=shapes))
    assert (found is not None) is ill
    assert found is None or "beta" in found.remedy


@pytest.mark.parametrize(
    ("price", "moved", "ill"),
    [(MORE, MORE, True), (LESS, MORE, False), (MORE, LESS, False)],
    ids=["dear, and paid", "affordable", "dear, not paid yet"],
)
def test_beta_too_small(run: Make, price: float, moved: float, ill: bool):
    beta = 1 / (price * step_size.PRICE * SURPRISAL)
    ratio = moved * step_size.MOVED
    found = rules.beta_too_small(run(shapes=held(beta * ratio * SURPRISAL, ratio)))
    assert (found is not None) is ill
    assert found is None or "about 0.42" in found.remedy


# --- Where likelihood went -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "severity"),
    [
        (drift.DISPLACED, "mild"),
        (drift.DISPLACED_SERIOUSLY, "serious"),
        (drift.DISPLACED_CRITICALLY, "critical"),
    ],
)
def test_displacement_by_how_far(run: Make, bound: float, severity: str):
    def fallen(share: float) -> Any:
        end = -share * bound * SURPRISAL
        chosen = {"log_ratio/chosen": lambda t: end * min(1.0, 2 * t)}
        return rules.displacement(run(shapes=chosen))

    less, more = fallen(LESS), fallen(MORE)
    assert more is not None
    assert more.severity == severity
    assert (None if less is None else less.severity) != severity


def test_a_fall_without_a_rising_margin_is_no_displacement(run: Make):
    shapes = {"log_ratio/chosen": lambda t: -10 * t, "rewards/margins": lambda t: 0.3 - 0.2 * t}
    assert rules.displacement(run(shapes=shapes)) is None


def test_displacement_without_a_reference(run: Make):
    gone = ("kl_reference", "log_ratio/chosen", "log_ratio/rejected")

    def fallen(share: float) -> Any:
        end = share * drift.DISPLACED * SURPRISAL
        shapes = {"logps/chosen": lambda t: -24 - end * min(1.0, 2 * t)}
        return rules.displacement(run(shapes=shapes, without=gone, wobble=0.001))

    assert fallen(0.8) is None
    assert fallen(1.3) is not None


@pytest.mark.parametrize(("share", "ill"), [(MORE, False), (LESS, True)])
def test_collapse_of_entropy(run: Make, share: float, ill: bool):
    end = share * drift.COLLAPSED * 1.6
    curves = run(shapes={"entropy": lambda t: 1.6 if t == 0 else end})
    found = rules.over_optimisation(curves)
    assert (found is not None) is ill
    assert found is None or ("entropy" in found.what and found.severity == "critical")


@pytest.mark.parametrize(
    ("far", "gain", "ill"),
    [
        (MORE, LESS, True),
        (MORE, -3.0, True),
        (LESS, LESS, False),
        (MORE, MORE, False),
        (MORE * drift.TOO_FAR / drift.FAR_WITHOUT_GAIN, MORE, True),
        (LESS * drift.TOO_FAR / drift.FAR_WITHOUT_GAIN, MORE, False),
    ],
    ids=["far for nothing", "far, and worse", "not far", "far, and better", "too far", "nearly"],
)
def test_far_without_gain(run: Make, far: float, gain: float, ill: bool):
    distance = far * drift.FAR_WITHOUT_GAIN * TOKENS
    curves = run(
        shapes={"kl_reference": lambda t: 0.0 if t == 0 else distance},
        held_out={
            20: {"eval_rewards/accuracies": 0.7},
            40: {"eval_rewards/accuracies": 0.7 + gain * drift.GAIN},
        },
    )
    found = rules.over_optimisation(curves)
    assert (found is not None) is ill
    if found is not None:
        gone = far * drift.FAR_WITHOUT_GAIN >= drift.TOO_FAR
        assert found.severity == ("critical" if gone else "serious")
        shown = [str(evidence) for evidence in found.evidence]
        assert any("eval_rewards/accuracies at step 20: 0.70" in line for line in shown)


def test_perfect_accuracy_has_nothing_to_gain(run: Make):
    curves = run(
        shapes={"kl_reference": lambda t: LESS * drift.TOO_FAR * TOKENS * t},
        held_out={s: {"eval_rewards/accuracies": drift.PERFECT} for s in (20, 40)},
    )
    assert rules.over_optimisation(curves) is None


def test_over_optimisation_needs_entropy_or_held_out_rows(run: Make):
    with pytest.raises(MissingMetric, match="entropy, or eval_rewards/accuracies"):
        rules.over_optimisation(run(without=("entropy",)))


# --- Held-out rows -------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "ill"), [(LESS, False), (MORE, True)])
def test_overfitting_by_the_gap(run: Make, number: Any, share: float, ill: bool):
    curves = run(
        shapes={"rewards/accuracies": lambda t: 0.9},
        summary={"metrics": {"reward_accuracy": number(0.9 - share * held_out.GAP)}},
    )
    assert (rules.overfitting(curves) is not None) is ill


def test_a_gap_within_its_uncertainty_is_none(run: Make, number: Any):
    curves = run(
        shapes={"rewards/accuracies": lambda t: 0.9},
        summary={"metrics": {"reward_accuracy": number(0.75, half=0.15)}},
    )
    assert rules.overfitting(curves) is None


@pytest.mark.parametrize(
    ("last", "train", "gap", "ill"),
    [
        (MORE, 0.4, MORE, True),
        (LESS, 0.4, MORE, False),
        (MORE, 0.6, MORE, False),
        (MORE, 0.4, LESS, False),
    ],
    ids=["turned up", "about level", "training loss is no lower", "accuracy knows nothing of it"],
)
def test_overfitting_by_the_held_out_loss(
    run: Make, last: float, train: float, gap: float, ill: bool
):
    begun = 0.73 + gap * held_out.BEGUN * held_out.GAP
    worse = 0.6 * (1 + last * held_out.RISE)
    ended = train if train < 0.5 else worse
    curves = run(
        shapes={
            "loss": lambda t: 0.69 if t == 0 else ended,
            "rewards/accuracies": lambda t: begun,
        },
        held_out={20: {"eval_loss": 0.6}, 40: {"eval_loss": worse}},
    )
    assert (rules.overfitting(curves) is not None) is ill


def test_overfitting_needs_held_out_rows(run: Make):
    with pytest.raises(MissingMetric, match="held-out accuracy"):
        rules.overfitting(run(summary={"metrics": {}}, header={"rows": {}}))


# --- Data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("high", "ill"), [(0.98, True), (1.02, False)])
def test_label_noise(run: Make, high: float, ill: bool):
    shapes = {"rewards/accuracies": lambda t: high * data.PLATEAU}
    assert (rules.label_noise(run(shapes=shapes)) is not None) is ill


def test_label_noise_needs_its_interval_below_the_plateau(run: Make):
    shapes = {"rewards/accuracies": lambda t: 0.98 * data.PLATEAU}
    assert rules.label_noise(run(shapes=shapes, wobble=0.1)) is None


def test_label_noise_shows_the_surest_held_out_pairs(run: Make):
    pairs = [
        {"roles": ["chosen", "rejected"], "scores": [-1.0 * k, -2.0], "reference": [0.0, 0.0],
         "cluster": str(k)}
        for k in range(40)
    ]  # fmt: skip
    found = rules.label_noise(run(shapes={"rewards/accuracies": lambda t: 0.52}, rows=pairs))
    assert found is not None
    assert "surest quarter" in str(found.evidence[-1])
    assert found.evidence[-1].stat.value == 0.0, "the largest margins of these are all wrong"


def test_a_reward_model_near_a_half_may_have_three_causes(run: Make):
    """The curves cannot tell them apart, so the words do not either, and say how to find out."""
    shapes = {"rewards/accuracies": lambda t: 0.52}
    policy, reward = (rules.label_noise(run(shapes=shapes, **more)) for more in ({}, REWARD))
    assert policy is not None
    assert reward is not None
    for part in ("Either labels contradict", "broke the trunk", "too short to begin"):
        assert part in reward.what
        assert part not in policy.what
    assert "Tell them apart by a second run" in reward.remedy
    assert "rewards/margins over steps 33 to 40" in str(reward.evidence[-1])


def test_label_noise_needs_rewards_that_mean_something(run: Make):
    """Without a reference, `rewards/accuracies` is the ranking accuracy, which may stay at 0.5."""
    with pytest.raises(MissingMetric, match="against a reference"):
        rules.label_noise(run(without=("kl_reference",)))


@pytest.mark.parametrize(
    ("at", "end", "unseen", "ill"),
    [
        (data.AT_ONCE - 0.07, 1.0, 1.0, True),
        (data.AT_ONCE + 0.05, 1.0, 1.0, False),
        (data.AT_ONCE - 0.07, 0.94, 1.0, False),
        (data.AT_ONCE - 0.07, 1.0, data.SURE_HELD_OUT - 0.01, False),
    ],
    ids=["at once", "later", "not sure", "learnt by heart"],
)
def test_data_too_easy(run: Make, number: Any, at: float, end: float, unseen: float, ill: bool):
    curves = run(
        shapes={"rewards/accuracies": lambda t: 0.6 if t < at else end},
        summary={"metrics": {"reward_accuracy": number(unseen, 0.0)}},
        wobble=0.0,
    )
    assert (rules.data_too_easy(curves) is not None) is ill


@pytest.mark.parametrize("sign", [1, -1], ids=["longer", "shorter"])
@pytest.mark.parametrize(("share", "ill"), [(LESS, False), (MORE, True)])
def test_length_bias(run: Make, sign: int, share: float, ill: bool):
    shapes = {"length_correlation": lambda t: sign * share * data.LENGTH}
    found = rules.length_bias(run(shapes=shapes))
    assert (found is not None) is ill
    assert found is None or ("longer" if sign > 0 else "shorter") in found.what


def test_a_correlation_that_scatters_about_nothing_is_no_bias(run: Make):
    curves = run(shapes={"length_correlation": lambda t: 0.55}, wobble=2.5)
    assert rules.length_bias(curves) is None
