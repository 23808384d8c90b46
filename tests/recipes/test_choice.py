"""A winner is named where there is one, and hardly ever where there is none."""

import numpy as np
import pytest

from prefine.errors import ConfigError, StatisticError
from prefine.recipes.choice import choose
from prefine.recipes.trials import places, plan


def drawn(rng: np.random.Generator, gains: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Three seeds and 40 prompts: what prompts share, what seeds add, what is left."""
    prompts = rng.standard_normal(40)
    return {
        f"objective {n}": gain
        + prompts
        + 0.05 * rng.standard_normal((3, 1))
        + 0.5 * rng.standard_normal((3, 40))
        for n, gain in enumerate(gains)
    }


def winners(gains: tuple[float, ...], studies: int, **how: bool) -> list[str | None]:
    rng = np.random.default_rng(0)
    return [choose(drawn(rng, gains), **how).winner for _ in range(studies)]


def test_no_winner_where_none_is_better() -> None:
    found = winners((0.0,) * 4, 500)
    assert sum(name is not None for name in found) <= 25


def test_the_better_one_is_found() -> None:
    found = winners((0.0, 1.0, 0.0), 200)
    assert found.count("objective 1") >= 180
    assert set(found) <= {"objective 1", None}


def test_one_that_is_level_with_the_best_wins_nothing() -> None:
    found = winners((1.0, 1.0, 0.0), 400)
    assert sum(name is not None for name in found) <= 28


def test_a_finding_is_put_into_words() -> None:
    rng = np.random.default_rng(0)
    won = choose(drawn(rng, (0.0, 2.0)))
    assert won.words == (
        "objective 1 is better than each of the others, all comparisons considered."
    )
    assert list(won.means) == ["objective 1", "objective 0"]
    (gap,) = won.gaps
    assert (gap.first, gap.told, gap.stat.seeds) == ("objective 1", True, 3)
    level = choose(drawn(rng, (0.0, 0.0)))
    assert "No objective is better than all others" in level.words
    assert "no proof that they are equal" in level.words


def test_holm_counts_all_pairs() -> None:
    found = choose(drawn(np.random.default_rng(3), (0.0, 0.1, 0.2)))
    raw = choose(drawn(np.random.default_rng(3), (0.0, 0.1, 0.2)), corrected=False)
    assert len(found.gaps) == 3
    assert all(one.p_holm >= one.p for one in found.gaps)
    assert max(one.p_holm / one.p for one in found.gaps if one.p < 0.3) > 1
    assert [one.p for one in raw.gaps] == [one.p_holm for one in raw.gaps]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="two objectives or more"):
        choose({"dpo": np.ones((2, 3))})
    with pytest.raises(StatisticError, match="not measured alike"):
        choose({"dpo": np.ones((2, 3)), "ipo": np.ones((2, 4))})
    with pytest.raises(StatisticError, match="seeds and prompts"):
        choose({"dpo": np.ones((1, 3)), "ipo": np.zeros((1, 3))})


# --- Trials --------------------------------------------------------------------------------------


def test_every_objective_gets_the_same_places() -> None:
    found = plan(["dpo", "simpo", "ipo", "sft"], 5, (1e-6, 1e-4))
    assert len(found) == 20
    by = {name: [t for t in found if t.objective == name] for name in ("dpo", "simpo", "ipo")}
    rates = [[trial.rate for trial in each] for each in by.values()]
    assert rates[0] == rates[1] == rates[2]
    assert all(1e-6 <= rate <= 1e-4 for rate in rates[0])
    assert all(0.01 <= t.options["beta"] <= 0.5 for t in by["dpo"])
    assert all(2 <= t.options["beta"] <= 10 for t in by["simpo"])
    assert [list(t.options) for t in by["ipo"]] == [["tau"]] * 5
    assert all(t.options == {} for t in found if t.objective == "sft")
    share = [np.log(t.options["beta"] / 0.01) / np.log(50) for t in by["dpo"]]
    other = [np.log(t.options["beta"] / 2) / np.log(5) for t in by["simpo"]]
    assert np.allclose(share, other, atol=1e-3), "as far into either range"


def test_places_lie_evenly() -> None:
    points = np.array(places(64))
    counts, _, _ = np.histogram2d(*points.T, bins=4, range=[[0, 1], [0, 1]])
    assert counts.min() >= 2
    assert counts.max() <= 6


@pytest.mark.parametrize(
    ("objectives", "rates", "why"),
    [
        (["dpo"], (1e-6, 1e-4), "two different objectives"),
        (["dpo", "dpo"], (1e-6, 1e-4), "two different objectives"),
        (["dpo", "dppo"], (1e-6, 1e-4), "Did you mean"),
        (["dpo", "ipo"], (1e-4, 1e-6), "must be a range"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    objectives: list[str], rates: tuple[float, float], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        plan(objectives, 2, rates)
