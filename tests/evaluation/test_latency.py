"""Lagging and share read, by hand."""

import pytest

from prefine.errors import StatisticError
from prefine.evaluation.latency import (
    MEANINGS,
    average_lagging,
    average_proportion,
    latency_report,
)
from prefine.records.streams import Trajectory, wait_k


def path(k: int, source: int, words: int) -> Trajectory:
    made = wait_k([" s"] * source, [" t"] * words, k, "<r>")
    return Trajectory.of(made, "<r>")


@pytest.mark.parametrize("k", [1, 2, 5])
def test_wait_k_lags_k_where_both_are_equally_long(k: int) -> None:
    assert average_lagging(path(k, 8, 8)) == pytest.approx(k)


def test_reading_everything_first_lags_the_whole_source() -> None:
    full = path(9, 6, 3)
    assert full.read == (6, 6, 6)
    assert average_lagging(full) == 6
    # 6, 6 - 2, 6 - 4
    assert average_lagging(full, whole=True) == 4
    assert average_proportion(full) == 1


def test_unequal_lengths_by_hand() -> None:
    """wait-1, 3 pieces, 6 words: g = 1, 2, 3, 3, 3, 3; the third is the first with all."""
    short = path(1, 3, 6)
    assert average_lagging(short) == pytest.approx((1 + (2 - 0.5) + (3 - 1)) / 3)
    everything = (1 + 1.5 + 2 + 1.5 + 1 + 0.5) / 6
    assert average_lagging(short, whole=True) == pytest.approx(everything)
    assert average_proportion(short) == pytest.approx((1 / 3 + 2 / 3 + 4) / 6)


def test_a_translation_that_ends_before_its_source_counts_all_its_words() -> None:
    early = path(1, 4, 2)
    assert early.read == (1, 2)
    assert average_lagging(early) == pytest.approx((1 + (2 - 2)) / 2)
    assert average_lagging(early) == average_lagging(early, whole=True)


def test_the_report_counts_sources() -> None:
    paths = [path(k, 4, 4) for k in (1, 1, 3, 3, 2, 2)]
    report = latency_report(paths, ["a", "a", "b", "b", "c", "c"])
    assert report.keys() == MEANINGS.keys()
    lag = report["average_lagging"]
    assert (lag.value, lag.n, lag.n_clusters) == (2.0, 6, 3)
    assert 1 <= lag.low < 2 < lag.high <= 3
    assert "over sources" in lag.method
    assert report["first_word"].value == 2


def test_misuse() -> None:
    with pytest.raises(StatisticError, match="1 trajectories, but 2 clusters"):
        latency_report([path(1, 2, 2)], ["a", "b"])
    for number in (average_lagging, average_proportion):
        with pytest.raises(StatisticError, match="without words"):
            number(Trajectory((), 2))
