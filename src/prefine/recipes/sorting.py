"""Records sorted by how clearly a reward sees their pairs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefine.errors import RecordError
from prefine.evaluation.selection import split_by_margin
from prefine.models import RewardModel
from prefine.records import Records


@dataclass(frozen=True)
class Sorted:
    """Records in three parts.

    Attributes:
        records: `easy`, `hard` and `contradicted`.
        threshold: Lead above which a pair is clear.
        set_aside: Reason -> how many rows no pair came of.
    """

    records: Mapping[str, Records]
    threshold: float
    set_aside: Mapping[str, int]


def sort_by_reward(
    records: Records, reward: RewardModel, threshold: float | None = None, *, progress: bool = False
) -> Sorted:
    """Sort records by the lead that a reward gives the chosen response.

    A record with several pairs goes where its least clear pair belongs.

    Args:
        records: With pairs.
        reward: A reward model that was not trained on them.
        threshold: Lead that makes a pair clear; by default the median of the leads above 0.
        progress: Whether to show it.

    Raises:
        RecordError: If there are no pairs.

    Source:
        arXiv:2403.19443; see `evaluation.split_by_margin`.
    """
    view = records.pairs()
    prepared = reward.adapter.prepare(view)
    rows = prepared.dataset
    if not len(rows):
        raise RecordError(f"There are no pairs to sort ({dict(view.set_aside)}).")
    scores = np.asarray(reward.score(rows, progress=progress), dtype=np.float64)
    least: dict[str, float] = {}
    for row, (chosen, rejected) in zip(rows, scores, strict=True):
        lead = float(chosen - rejected)
        least[row["record"]] = min(lead, least.get(row["record"], lead))
    found = split_by_margin(list(least.values()), threshold)
    kinds = {"easy": found.easy, "hard": found.hard, "contradicted": found.contradicted}
    place = {name: at for at, name in enumerate(least)}
    parts = {
        name: records.filter(
            lambda record, of=of: record.id in place and bool(of[place[record.id]])
        )
        for name, of in kinds.items()
    }
    set_aside = Counter(view.set_aside) + Counter(prepared.set_aside)
    return Sorted(parts, found.threshold, set_aside)


def _only(records: Records, ids: set[str]) -> Records:
    return records.filter(lambda record: record.id in ids, reason="in another part")
