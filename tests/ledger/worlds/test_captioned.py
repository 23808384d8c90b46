"""The denoiser is the exact one, and what it draws is known."""

import pytest
import torch

from prefine.ledger.worlds.captioned import CLOUDS, Captioned

WORLD = Captioned()


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    caption = torch.randint(4, (count,), generator=generator)
    return WORLD.points(caption, generator), caption, generator


def test_points_lie_where_their_caption_says() -> None:
    points, caption, _ = drawn(20_000)
    for at in range(4):
        mine = points[caption == at]
        torch.testing.assert_close(mine.mean(0), CLOUDS[at], atol=0.03, rtol=0)
        torch.testing.assert_close(mine.std(0), torch.full((2,), 0.5).double(), atol=0.02, rtol=0)


def test_no_other_means_have_a_smaller_error() -> None:
    """The true means are where the gradient of the mean error is 0, as of an exact denoiser."""
    points, caption, generator = drawn(200_000)
    time = torch.rand(len(points), generator=generator, dtype=points.dtype)
    noise = torch.randn(len(points), 2, generator=generator, dtype=points.dtype)
    means = CLOUDS.clone().requires_grad_()
    WORLD.scores(means, points, caption, time, noise).mean().backward()
    assert means.grad is not None
    assert float(means.grad.abs().max()) < 0.01
    off = (CLOUDS * 0.8).requires_grad_()
    WORLD.scores(off, points, caption, time, noise).mean().backward()
    assert off.grad is not None
    assert float((off.grad * CLOUDS).min()) > 0.02, "a step towards the clouds lowers the error"


def test_a_score_worked_out_by_hand() -> None:
    # At t = 1 the noised point is the noise; V = 1, so E[noise] = noise and E[x] = mean:
    # velocity noise - mean, wanted noise - point: half of |mean - point|^2 = (0.36 + 0.16) / 2
    point, noise = torch.tensor([[0.4, 0.6]]).double(), torch.tensor([[7.0, -3.0]]).double()
    found = WORLD.scores(CLOUDS, point, torch.tensor([0]), torch.ones(1).double(), noise)
    assert found.item() == pytest.approx(-0.26)


def test_how_often_samples_follow() -> None:
    points, caption, _ = drawn(50_000)
    counted = (points * CLOUDS[caption] > 0).all(1).double().mean()
    assert WORLD.follows(CLOUDS) == pytest.approx(float(counted), abs=0.01)
    assert WORLD.follows(torch.zeros(4, 2).double()) == pytest.approx(0.25)
    assert WORLD.distance(CLOUDS + torch.tensor([3.0, 4.0]).double()) == pytest.approx(5.0)
