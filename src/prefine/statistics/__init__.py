"""Numbers with their uncertainty."""

from prefine.statistics.bootstrap import cluster_bootstrap, paired_cluster_bootstrap
from prefine.statistics.comparisons import holm, paired_t_test, sign_flip_test, welch
from prefine.statistics.crossed import crossed_mean
from prefine.statistics.factorial import Factorial, factorial
from prefine.statistics.intervals import mcnemar, paired_t, proportion, t_interval, wilson
from prefine.statistics.stat import Stat

__all__ = [
    "Factorial",
    "Stat",
    "cluster_bootstrap",
    "crossed_mean",
    "factorial",
    "holm",
    "mcnemar",
    "paired_cluster_bootstrap",
    "paired_t",
    "paired_t_test",
    "proportion",
    "sign_flip_test",
    "t_interval",
    "welch",
    "wilson",
]
