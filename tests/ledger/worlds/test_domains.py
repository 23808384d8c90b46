"""Tastes agree and turn as they say, and the stream comes domain after domain."""

import math

import pytest
import torch

from prefine.ledger.worlds.domains import Domains


@pytest.mark.parametrize(("angle", "own"), [(0.0, 0.5), (90.0, 0.5), (180.0, 0.5), (60.0, 0.25)])
def test_tastes_stand_at_the_angle_in_their_own_share(angle: float, own: float) -> None:
    world = Domains.drawn(3, angles=(0.0, angle), size=20, own=own, strength=1.5)
    first, second = world.tastes
    # the shared part agrees, and the own part turns: (1 - own) + own cos(angle)
    cosine = 1 - own + own * math.cos(math.radians(angle))
    assert float(first @ second) == pytest.approx(1.5**2 * cosine)
    assert float(first.norm()) == pytest.approx(1.5)


def test_the_stream_comes_domain_after_domain() -> None:
    world = Domains.drawn(0)
    generator = torch.Generator().manual_seed(0)
    batches = list(world.stream(3, 4_000, generator, flips=0.2))
    assert [at for at, _ in batches] == [0, 0, 0, 1, 1, 1]
    for at, pairs in batches:
        assert abs(float(pairs.wrong.double().mean()) - 0.2) < 0.03
        straight = torch.where(pairs.wrong[:, None, None], pairs.features.flip(1), pairs.features)
        assert world.accuracy(world.tastes[at], straight)[at] == 1.0
        gap = -world.domain(at).gold(straight).diff(dim=1)
        assert float((gap > 0).double().mean()) > 0.7


def test_accuracy_is_of_each_domain() -> None:
    world = Domains.drawn(1, angles=(0.0, 180.0), own=1.0)
    features = torch.randn(500, 2, 20, dtype=torch.float64)
    assert world.accuracy(world.tastes[0], features) == [1.0, 0.0]
