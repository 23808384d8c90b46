"""How late a translator writes: lagging and share of the source read, over trajectories."""

from collections.abc import Hashable, Sequence

import numpy as np

from prefine.errors import StatisticError
from prefine.records.streams import Trajectory
from prefine.statistics import Stat, cluster_bootstrap

MEANINGS = {
    "average_lagging": "mean over translations of how many source pieces writing is behind an "
    "ideal pace, up to the first word that was written with the whole source read",
    "average_lagging_all": "the same over all words",
    "average_proportion": "mean share of the source that was read when a word was written",
    "first_word": "mean number of source pieces read before the first word",
}
"""What each number says, for tables."""


def average_lagging(path: Trajectory, *, whole: bool = False) -> float:
    r"""Return how far writing lags behind a translator that keeps pace with the source.

    .. math:: AL = \frac{1}{T}\sum_{t=1}^{T}\Big(g(t) - (t-1)\frac{|x|}{|y|}\Big)

    Args:
        path: What was read when each word was written.
        whole: Take T up to the last word; by default it is the first word that was written with the
            whole source read, since all later ones wait for nothing.

    Returns:
        Pieces of the source; k for wait-k where source and translation are equally long. Negative
        where words came before what they translate could have been read.

    Raises:
        StatisticError: If nothing was written.

    Source:
        Ma et al. 2019, arXiv:1810.08398, section 3.2.

    Example:
        >>> wait_2 = Trajectory((2, 3, 4, 4), 4)
        >>> average_lagging(wait_2)
        2.0
        >>> average_lagging(wait_2, whole=True)  # 2, 2, 2 and 1
        1.75
    """
    if not path.read:
        raise StatisticError("A translation without words has no lag. Leave it out.")
    words, source = len(path.read), path.source
    done = path.read.index(source) + 1 if source in path.read else words
    last = words if whole else done
    return float(np.mean([g - t * source / words for t, g in enumerate(path.read[:last])]))


def average_proportion(path: Trajectory) -> float:
    """Return the mean share of the source that was read when a word was written.

    Args:
        path: What was read when each word was written.

    Returns:
        In (0, 1]; 1 where everything was read first.

    Raises:
        StatisticError: If nothing was written.

    Source:
        Cho and Esipova 2016, arXiv:1606.02012.

    Example:
        >>> average_proportion(Trajectory((2, 3, 4, 4), 4))
        0.8125
    """
    if not path.read:
        raise StatisticError("A translation without words has no delay. Leave it out.")
    return float(np.mean(path.read) / path.source)


def latency_report(paths: Sequence[Trajectory], clusters: Sequence[Hashable]) -> dict[str, Stat]:
    """Return latencies of trajectories, with intervals over sources.

    Args:
        paths: Trajectories with at least a word each.
        clusters: Of which source each is.

    Returns:
        The numbers of `MEANINGS`.

    Raises:
        StatisticError: If there is not one cluster for each, or nothing was written in one.
    """
    if len(paths) != len(clusters):
        raise StatisticError(f"There are {len(paths)} trajectories, but {len(clusters)} clusters.")
    values = {
        "average_lagging": [average_lagging(path) for path in paths],
        "average_lagging_all": [average_lagging(path, whole=True) for path in paths],
        "average_proportion": [average_proportion(path) for path in paths],
        "first_word": [path.read[0] for path in paths],
    }
    of = [str(cluster) for cluster in clusters]
    return {name: cluster_bootstrap(each, of, unit="sources") for name, each in values.items()}
