"""Sources whose gradient helps the target gain weight, and none is lost for good."""

import math

import pytest
import torch

from prefine.errors import ConfigError, NonFiniteError
from prefine.estimators import GradientMixing, alignment

SIDES = torch.tensor([[3.0, 4.0], [0.0, 1.0], [-5.0, 0.0], [0.0, 0.0]])
TARGET = torch.tensor([2.0, 0.0])


def test_alignment_by_hand() -> None:
    # products 6, 0, -10, 0; norms 5, 1, 5, 0 of mean 2.75, and 2 of the target: over 5.5
    expected = torch.tensor([6.0, 0.0, -10.0, 0.0]) / 5.5
    torch.testing.assert_close(alignment(SIDES, TARGET), expected)
    torch.testing.assert_close(alignment(1e-6 * SIDES, 1e6 * TARGET), expected)


def test_gradients_that_are_all_zero_say_nothing() -> None:
    assert alignment(torch.zeros(2, 3), torch.zeros(3)).tolist() == [0.0, 0.0]


def test_an_update_by_hand() -> None:
    # logits log(1/2) + 2 * (1, -1): shares e^2 : e^-2; 0.1 + 0.8 of them; then a quarter of the way
    mixing = GradientMixing(2, eta=2.0, decay=0.75, floor=0.1)
    found = mixing.step(torch.tensor([1.0, -1.0]))
    share = 0.1 + 0.8 / (1 + math.exp(-4))
    assert mixing.alpha[0].item() == pytest.approx(share)
    assert found[0].item() == pytest.approx(0.75 * 0.5 + 0.25 * share)
    assert found.sum().item() == pytest.approx(1.0)


def test_a_source_comes_back() -> None:
    mixing = GradientMixing(3, eta=5.0, decay=0.0, floor=0.01)
    for _ in range(50):
        mixing.step(torch.tensor([1.0, 0.0, -1.0]))
    assert mixing.weights.min().item() == pytest.approx(0.01, abs=1e-3)
    for _ in range(3):
        mixing.step(torch.tensor([-1.0, 0.0, 1.0]))
    assert int(mixing.weights.argmax()) == 2


def test_equal_sources_stay_equal() -> None:
    mixing = GradientMixing(3)
    torch.testing.assert_close(mixing.step(torch.full((3,), 0.7)), torch.full((3,), 1 / 3))


def test_the_state_is_resumed() -> None:
    ours, theirs = GradientMixing(2, eta=0.5), GradientMixing(2, eta=0.5)
    ours.step(torch.tensor([1.0, 0.0]))
    theirs.load_state_dict(ours.state_dict())
    again = torch.tensor([0.2, 0.9])
    torch.testing.assert_close(ours.step(again), theirs.step(again))
    with pytest.raises(ConfigError, match="state is of 2 sources and the mixing has 3"):
        GradientMixing(3).load_state_dict(ours.state_dict())


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match=r"got \[4, 2\] and \[3\]"):
        alignment(SIDES, torch.zeros(3))
    with pytest.raises(NonFiniteError, match="not finite"):
        alignment(SIDES * torch.inf, TARGET)
    with pytest.raises(ConfigError, match="two sources or more"):
        GradientMixing(1)
    for options in ({"eta": 0.0}, {"decay": 1.0}, {"floor": 0.5}):
        with pytest.raises(ConfigError, match=r"`floor` in \[0, 1/2\)"):
            GradientMixing(2, **options)
