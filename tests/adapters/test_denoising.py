"""Denoising models: what is drawn, what is scored, and the identities that hold before a step."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prefine.adapters import bind
from prefine.adapters.denoising import Denoising
from prefine.adapters.diffusion import Diffusion
from prefine.adapters.rectified_flow import RectifiedFlow
from prefine.errors import ConfigError
from prefine.ledger.worlds.densities import TimeMLP, rows
from prefine.objectives import dpo
from prefine.scores import ItemScores, Needs, gather

ALPHAS = torch.linspace(0.999, 0.01, 20, dtype=torch.float64)

PROCESSES: dict[str, Callable[..., Denoising]] = {
    "epsilon": lambda **o: Diffusion(alphas=ALPHAS, **o),
    "velocity": lambda **o: Diffusion(alphas=ALPHAS, prediction="v_prediction", **o),
    "sample": lambda **o: Diffusion(alphas=ALPHAS, prediction="sample", **o),
    "flow": lambda **o: RectifiedFlow(**o),
    "flow, middle": lambda **o: RectifiedFlow(density="logit_normal", shift=3.0, **o),
}
each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def pairs(count: int = 6, width: int = 2) -> list[dict[str, Any]]:
    points = torch.randn(count, width, 2, generator=torch.Generator().manual_seed(3))
    return [row | {"seed": 100 + at} for at, row in enumerate(rows(points))]


def scored(
    adapter: Denoising, model: nn.Module, given: Sequence[dict[str, Any]], reference: Any = None
) -> tuple[Tensor, Any]:
    """[B, K] values under the model, and the draw that both saw."""
    batch = adapter.collate(given)
    draw = adapter.draw(batch, model)
    found: ItemScores = bind(model, adapter)(batch=batch, draw=draw, needs=Needs())
    base = None
    if reference is not None:
        with torch.no_grad():
            base = bind(reference, adapter)(batch=batch, draw=draw, needs=Needs())
    return gather(batch["index"], found, base), draw  # type: ignore[return-value]


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return TimeMLP(width=16)


# --- what is drawn ---


@each
def test_a_row_is_drawn_alike_wherever_it_stands(process: Callable[..., Denoising]) -> None:
    adapter, given = process(draws=3), pairs()
    together = adapter.draw(adapter.collate(given), model()).tensors
    alone = adapter.draw(adapter.collate(given[4:5]), model()).tensors
    assert torch.equal(together["noise"][8:10], alone["noise"])
    assert torch.equal(together["time"][8:10], alone["time"])
    assert not torch.equal(together["noise"][0], together["noise"][2]), "rows differ"


def test_noise_is_shared_by_a_row_unless_each_has_its_own() -> None:
    given = pairs(2)
    shared = RectifiedFlow().draw(RectifiedFlow().collate(given), model()).tensors
    assert torch.equal(shared["noise"][0], shared["noise"][1])
    own = RectifiedFlow(noise="own")
    drawn = own.draw(own.collate(given), model()).tensors
    assert torch.equal(drawn["time"][0], drawn["time"][1]), "the time stays shared"
    assert not torch.equal(drawn["noise"][0], drawn["noise"][1])
    alone = own.draw(own.collate(given[1:]), model()).tensors
    assert torch.equal(drawn["noise"][3], alone["noise"][1]), "whatever stands beside it"


def test_noise_may_be_what_the_policy_would_draw_from() -> None:
    """A model that predicts no velocity leaves samples where they are: x = (1 - t) x + t x."""
    flow = RectifiedFlow(noise="inverted", draws=2)
    batch = flow.collate(pairs(2))
    drawn = flow.draw(batch, Nothing()).tensors
    sample = batch["items"]["sample"][:, None].expand_as(drawn["noise"])
    assert torch.allclose(drawn["noise"], sample, atol=1e-4)
    still = Diffusion(alphas=ALPHAS, noise="inverted", draws=2)  # no noise is told: x shrinks
    drawn = still.draw(batch, Nothing()).tensors
    start, end = ALPHAS[0].sqrt(), ALPHAS[drawn["time"]].sqrt()[..., None]
    expected = (end / start - end) / (1 - end**2).sqrt() * sample
    assert torch.allclose(drawn["noise"], expected.float(), atol=1e-5)


def test_inversion_is_mended_by_the_prediction_where_it_ends() -> None:
    """In one step: told 0 at 0, so it ends at x; told t there, whose noise is x + (1 - t) t."""
    flow = RectifiedFlow(noise="inverted", inversion_steps=1)
    batch = flow.collate(pairs(2))
    drawn = flow.draw(batch, Clock()).tensors
    time = drawn["time"][..., None]
    assert torch.allclose(
        drawn["noise"], batch["items"]["sample"][:, None] + (1 - time) * time, atol=1e-5
    )


@each
def test_inversion_ends_where_drawing_would_begin(process: Callable[..., Denoising]) -> None:
    """Walking back from there along the model's predictions leads to the sample, nearly."""
    policy = model()

    def missed(noise: str) -> float:
        adapter, steps = process(noise=noise), 9
        batch = adapter.collate(pairs(20))
        drawn = adapter.draw(batch, policy).tensors
        now, sample = drawn["time"][:, 0], batch["items"]["sample"]
        here = adapter.noised(sample, drawn["noise"][:, 0], now)
        for step in range(steps, 0, -1):
            then = (drawn["time"][:, 0] * (step - 1) / steps).to(now.dtype)
            with torch.no_grad():
                found = policy(here, adapter.model_time(now))
            noise = adapter.noise_told(found, here, now)
            signal, rest = adapter.shares(here, now)
            here, now = adapter.noised((here - rest * noise) / signal, noise, then), then
        return float((here - sample).square().mean().sqrt())

    assert missed("inverted") < 0.2 * missed("own")


@each
def test_inverted_noise_is_seen_by_policy_and_reference(process: Callable[..., Denoising]) -> None:
    policy, adapter = model(), process(noise="inverted")
    scores, draw = scored(adapter, policy, pairs(), copy.deepcopy(policy))
    assert (scores.log_ratio == 0).all()
    assert not draw.tensors["noise"].requires_grad
    other = adapter.draw(adapter.collate(pairs()), model(seed=1)).tensors["noise"]
    assert not torch.equal(other, draw.tensors["noise"]), "the policy's own"


def test_fixed_draws_of_inverted_noise_are_refused() -> None:
    with pytest.raises(ConfigError, match="fixed_draws needs noise that stays"):
        RectifiedFlow(noise="inverted", fixed_draws=4)


def test_times_of_several_draws_are_spread() -> None:
    flow = RectifiedFlow(draws=4)
    time = flow.draw(flow.collate(pairs()), model()).tensors["time"]
    assert ((time * 4).floor() == torch.arange(4)).all(), "one in each quarter"


def test_times_follow_their_density() -> None:
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    middle = RectifiedFlow(density="logit_normal").times(uniform)
    assert torch.logit(middle.double()).std() == pytest.approx(1, abs=0.01)
    shifted = RectifiedFlow(shift=3.0).times(torch.tensor([0.0, 0.5, 1.0]))
    assert shifted.tolist() == pytest.approx([0, 0.75, 1])
    steps = Diffusion(alphas=ALPHAS).times(uniform)
    assert (steps.min(), steps.max()) == (0, 19)


# --- what is scored ---


class Nothing(nn.Module):
    """Predicts zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        return self.scale * points


class Clock(Nothing):
    """Predicts the time."""

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        return time[:, None].expand_as(points)


@each
def test_a_score_is_minus_half_the_squared_error(process: Callable[..., Denoising]) -> None:
    adapter = process(draws=2)
    batch = adapter.collate(pairs(1))
    draw = adapter.draw(batch, Nothing())
    found = adapter.score(Nothing(), batch, draw, Needs(elements=frozenset({"error"})))
    sample, noise, time = batch["items"]["sample"], *(draw.tensors[k] for k in ("noise", "time"))
    target = torch.stack([adapter.target(sample, noise[:, d], time[:, d]) for d in range(2)], 1)
    error = target.square().mean(-1)
    assert torch.allclose(found.elements["error"], error)
    assert torch.allclose(found.value, -error.mean(1) / 2)
    summed = process(draws=2, reduction="sum").score(Nothing(), batch, draw)
    assert torch.allclose(summed.value, 2 * found.value), "of two elements"


def test_the_weight_of_time_enters_the_error() -> None:
    flow = RectifiedFlow(time_weight="(1-t)^2")
    batch = flow.collate(pairs(1))
    draw = flow.draw(batch, Nothing())
    plain = RectifiedFlow().score(Nothing(), batch, draw).value
    expected = (1 - draw.tensors["time"][:, 0]).square() * plain
    assert torch.allclose(flow.score(Nothing(), batch, draw).value, expected)


def test_signal_to_noise_weighs_every_prediction_alike() -> None:
    """An error of the sample is one of noise or velocity, too: weighed, they are the same."""
    time = torch.arange(len(ALPHAS))
    weights = {
        kind: Diffusion(alphas=ALPHAS, prediction=kind, time_weight="min_snr").weight_at(time)  # type: ignore[arg-type]
        for kind in ("sample", "epsilon", "v_prediction")
    }
    ratio = ALPHAS / (1 - ALPHAS)
    assert torch.equal(weights["sample"], ratio.clamp_max(5.0))
    assert torch.allclose(weights["epsilon"] * ratio, weights["sample"])
    assert torch.allclose(weights["v_prediction"] * (ratio + 1), weights["sample"])
    ends = Diffusion(alphas=torch.zeros(1), time_weight="min_snr")
    assert ends.weight_at(torch.tensor([0])).tolist() == [1.0], "pure noise"


def test_a_part_holds_at_most_the_budget_or_one_row() -> None:
    given = pairs(5)
    parts = RectifiedFlow(draws=2).split(given, 17)  # a row has 2 items x 2 elements x 2 draws
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [len(part) for part in RectifiedFlow().split(given, 1)] == [1] * 5
    assert RectifiedFlow().split(given, None) == [given]


# --- before the first step ---


@each
def test_the_log_ratio_to_a_twin_is_nought(process: Callable[..., Denoising]) -> None:
    policy = model()
    scores, _ = scored(process(), policy, pairs(), copy.deepcopy(policy))
    assert (scores.log_ratio == 0).all()
    assert torch.allclose(dpo(scores, beta=50.0), torch.tensor(math.log(2)))


@each
def test_other_noise_for_the_reference_shows(process: Callable[..., Denoising]) -> None:
    adapter, policy, given = process(), model(), pairs()
    scores, draw = scored(adapter, policy, given)
    batch = adapter.collate([row | {"seed": row["seed"] + 1} for row in given])
    other = adapter.draw(batch, policy)
    assert not torch.equal(other.tensors["noise"], draw.tensors["noise"])
    again = adapter.score(policy, batch, other).value.view(scores.policy.shape)
    assert (again != scores.policy).any()


@each
def test_a_step_brings_the_winner_nearer_than_the_loser(
    process: Callable[..., Denoising],
) -> None:
    policy, given = model(), pairs(1)
    reference, adapter = copy.deepcopy(policy), process(draws=4)

    def step(order: slice) -> Tensor:
        trained = copy.deepcopy(policy)
        scores, _ = scored(adapter, trained, given, reference)
        flipped = scores.take(torch.arange(2)[order][None] if order.step is None else
                              torch.tensor([[1, 0]]))  # fmt: skip
        dpo(flipped, beta=50.0).sum().backward()
        return torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None])

    gradient, swapped = step(slice(None)), step(slice(None, None, -1))
    assert torch.allclose(gradient, -swapped, atol=1e-6), "swapping the two turns it around"
    start = 0
    with torch.no_grad():
        for parameter in policy.parameters():
            part = gradient[start : start + parameter.numel()].view_as(parameter)
            parameter -= 1e-4 / gradient.norm() * part
            start += parameter.numel()
    scores, _ = scored(adapter, policy, given, reference)
    assert (scores.log_ratio[:, 0] > scores.log_ratio[:, 1]).all()


# --- schedulers of diffusers ---


def test_a_scheduler_gives_its_own_terms() -> None:
    diffusers = pytest.importorskip("diffusers")
    sample, noise = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    time = torch.tensor([0, 10, 500, 999])
    for kind in ("epsilon", "v_prediction", "sample"):
        scheduler = diffusers.DDPMScheduler(prediction_type=kind)
        process = Diffusion.of(scheduler)
        assert torch.allclose(
            process.noised(sample, noise, time), scheduler.add_noise(sample, noise, time), atol=1e-5
        )
        theirs = {
            "epsilon": noise,
            "sample": sample,
            "v_prediction": scheduler.get_velocity(sample, noise, time),
        }[kind]
        assert torch.allclose(process.target(sample, noise, time), theirs, atol=1e-5)
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    ours = RectifiedFlow.of(flow)
    assert (ours.shift, ours.time_scale, ours.density) == (3.0, 1000.0, "logit_normal")
    at = flow.timesteps[[100, 900]]
    theirs = flow.scale_noise(sample[:2], at, noise[:2])
    assert torch.allclose(ours.noised(sample[:2], noise[:2], at / 1000), theirs, atol=1e-5)


def test_a_scheduler_that_does_not_fit_is_refused() -> None:
    diffusers = pytest.importorskip("diffusers")
    with pytest.raises(ConfigError, match="has no alphas_cumprod"):
        Diffusion.of(diffusers.FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ConfigError, match="not one of flow matching"):
        RectifiedFlow.of(diffusers.DDPMScheduler())
