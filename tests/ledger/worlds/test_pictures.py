"""The worlds of points and of sprites state their truth."""

import numpy as np
import pytest
import torch

from prefine.ledger.worlds import densities, sprites


def test_the_tilted_mixture_is_the_density_times_the_reward() -> None:
    truth, slope = densities.clouds(), torch.tensor([2.0, -1.0], dtype=torch.float64)
    tilted = truth.tilted(slope, 0.7)
    points = 2 * torch.randn(50, 2, dtype=torch.float64)
    gap = tilted.log_prob(points) - truth.log_prob(points) - points @ slope / 0.7
    assert torch.allclose(gap, gap[:1].expand(50)), "but for a constant"
    samples = tilted.sample(100_000, torch.Generator().manual_seed(0))
    expected = (tilted.weights[:, None] * tilted.means).sum(0)
    assert torch.allclose(samples.mean(0), expected, atol=0.02)


def test_energy_distance_tells_samples_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = densities.clouds()
    one, other = (truth.sample(2_000, generator) for _ in range(2))
    assert abs(densities.energy_distance(one, other)) < 0.02
    shifted = truth.tilted(torch.tensor([2.0, 0.0]), 1.0).sample(2_000, generator)
    assert densities.energy_distance(one, shifted) > 0.3


def test_a_flow_learns_the_clouds() -> None:
    model = densities.base_flow(0, steps=600)
    generator = torch.Generator().manual_seed(0)
    points = densities.flow_samples(model, 1_000, generator, steps=20)
    found = densities.Share.of(points, densities.clouds(), generator)
    assert found.distance < 0.1
    assert found.near > 0.65
    assert 0.4 < found.right < 0.6


def test_captions_turn_the_exact_answer_around() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, slope = densities.clouds(), torch.tensor([2.0, 0.0], dtype=torch.float64)
    label = densities.coin(4_000, generator)
    assert 0.45 < label.double().mean() < 0.55
    right, left = (truth.tilted(sign * slope, 1.0).sample(4_000, generator) for sign in (1, -1))
    points = densities.turned(torch.where(label[:, None] == 0, right, left), label)
    found = densities.Share.of(points, truth.tilted(slope, 1.0), generator)
    assert abs(found.distance) < 0.02
    model = densities.base_flow(0, steps=2, captioned=True)
    drawn = densities.flow_samples(model, 8, generator, steps=2, label=densities.coin(8, generator))
    assert drawn.shape == (8, 2)


def test_rows_say_which_caption_each_item_stands_under() -> None:
    points, labels = torch.zeros(1, 2, 2), torch.tensor([[0, 1]])
    (row,) = densities.rows(points, labels=labels)
    assert [int(one["label"]) for one in row["condition"]] == [0, 1]
    (plain,) = densities.rows(points)
    assert plain["condition"] == [{}, {}]


def test_every_sprite_is_found_again() -> None:
    some = sprites.every()[::37]
    seen = sprites.look([sprite.pixels() for sprite in some])
    assert list(seen.sprites) == list(some)
    assert seen.distance.max() < 1e-3
    assert seen.as_told([sprite.caption for sprite in some]).all()
    noise = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3))
    assert not sprites.look(noise).valid().any()


def test_no_two_sprites_look_alike() -> None:
    pixels = {sprite.pixels().tobytes() for sprite in sprites.every()}
    assert len(pixels) == len(sprites.every())


@pytest.mark.parametrize("size", ["small", "large"])
def test_sprites_are_drawn_as_asked(size: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [sprites.drawn(rng, "a red cross", size) for _ in range(20)]
    assert {sprite.caption for sprite in drawn} == {"a red cross"}
    assert {sprite.size for sprite in drawn} == {size}
    assert len(set(drawn)) > 5
