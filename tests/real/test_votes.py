"""Who of a crowd can be believed? Reliabilities that `robust_em` estimates from single votes.

Data: the votes of UKPConvArg1 by everyone who gave 20 or more. Nobody knows how good these people
are, so errors are planted: of every second one of them, drawn anew for each seed, four votes in ten
are turned round. A reward model that saw no other text is trained on all votes by expectation
maximisation; then those it believes least should be the spoilt ones. Two controls: the same run
with the names of the raters mixed among the votes, and agreement with the majority of the others,
which needs no model. Beside it stands a run on the votes as they are, held against the competence
that the data set's authors estimated (MACE), which the model never sees.

As a program, `python tests/real/test_votes.py DATA` writes docs/results/votes.json.
"""

import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import studies

MODEL = {"vocabulary": 300, "width": 32, "layers": 1}
SEEDS, LEAST, TURNED = 3, 20, 0.4
OPTIONS = {"loss": "reward", "eta": 0.8, "step": 0.02}
KEYS = {
    "rows": {"votes": "each"},
    "options": OPTIONS,
    "training": {
        "use_cpu": True, "learning_rate": 1e-3, "num_train_epochs": 1,
        "per_device_train_batch_size": 64, "eval_strategy": "no", "save_strategy": "no",
    },
}  # fmt: skip
Votes = list[tuple[Any, list[Any]]]
"""Records with the judgments that are kept of each."""


def votes_of(folder: Path, out: Path, least: int) -> Votes:
    """Load the decided votes of everyone with enough of them."""
    from prefine.records import load

    records = list(load(folder / "UKPConvArg1-full-XML", rejects=out / "rejects.jsonl"))
    decided = [(r, [j for j in r.judgments if j.winner in j.shown]) for r in records]
    count = Counter(j.rater.id for _, votes in decided for j in votes)
    kept = [(r, [j for j in votes if count[j.rater.id] >= least]) for r, votes in decided]
    return [(record, votes) for record, votes in kept if votes]


def turned(vote: Any) -> Any:
    """Return a vote for the other one."""
    first, second = vote.shown
    return replace(vote, winner=second if vote.winner == first else first)


def spoilt(votes: Votes, seed: int) -> tuple[Votes, set[str]]:
    """Turn round votes of half of the raters; return who they are, too."""
    rng = random.Random(seed)
    names = sorted({j.rater.id for _, of in votes for j in of})
    bad = set(rng.sample(names, len(names) // 2))
    changed = [
        (r, [turned(j) if j.rater.id in bad and rng.random() < TURNED else j for j in of])
        for r, of in votes
    ]
    return changed, bad


def mixed(votes: Votes, seed: int) -> Votes:
    """Deal the raters out among the votes anew."""
    raters = [j.rater for _, of in votes for j in of]
    random.Random(seed).shuffle(raters)
    dealt = iter(raters)
    return [(r, [replace(j, rater=next(dealt)) for j in of]) for r, of in votes]


def trust(votes: Votes, seed: int, out: Path) -> dict[str, float]:
    """Train on the votes; return how far each rater is believed."""
    from prefine.records import Records

    out.mkdir(parents=True)
    records = Records.of(replace(r, judgments=tuple(of)) for r, of in votes)
    records.save(out / "votes.jsonl")
    words = studies.tokenizer(studies.texts(records), MODEL["vocabulary"])
    size = {key: MODEL[key] for key in ("width", "layers")}
    summary = studies.run(
        objective="robust_em", model=studies.untrained(out / "model", words, seed=seed, **size),
        data=out / "votes.jsonl", holdout=0, out=out / "run", seed=seed, **KEYS,
    )  # fmt: skip
    return summary["raters"]


def agreement(votes: Votes) -> dict[str, float]:
    """Share of a rater's votes that the majority of the others on the pair shares; ties half."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, of in votes:
        for one in of:
            others = [j.winner == one.winner for j in of if j is not one]
            if others:
                share = sum(others) / len(others)
                found[one.rater.id].append(1.0 if share > 0.5 else 0.5 * (share == 0.5))
    return {name: sum(each) / len(each) for name, each in found.items()}


def told_apart(believed: Mapping[str, float], bad: set[str]) -> float:
    """Probability that a spoilt rater is believed less than another one."""
    from scipy.stats import rankdata

    names = sorted(believed)
    ranks = dict(zip(names, rankdata([believed[name] for name in names]), strict=True))
    good = [float(ranks[name]) for name in names if name not in bad]
    above = sum(good) - len(good) * (len(good) + 1) / 2
    return above / (len(good) * (len(names) - len(good)))


def study(folder: Path, *, seeds: int = SEEDS, least: int = LEAST) -> dict[str, Any]:
    """Plant errors once for each seed; then look at the votes as they are."""
    from prefine.statistics import cluster_bootstrap, t_interval

    out = Path(tempfile.mkdtemp())
    votes = votes_of(folder, out, least)
    arms: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        planted, bad = spoilt(votes, seed)
        believed = trust(planted, seed, out / f"planted{seed}")
        arms["robust_em"].append(told_apart(believed, bad))
        arms["names mixed"].append(
            told_apart(trust(mixed(planted, seed), seed, out / f"mixed{seed}"), bad)
        )
        arms["agreement with the others"].append(told_apart(agreement(planted), bad))
        honest = [value for name, value in believed.items() if name not in bad]
        worse = [value for name, value in believed.items() if name in bad]
        arms["believed, of honest raters"].append(sum(honest) / len(honest))
        arms["believed, of spoilt raters"].append(sum(worse) / len(worse))
    believed = trust(votes, 0, out / "as they are")
    competence = {j.rater.id: j.rater.params["competence"] for _, of in votes for j in of}
    pairs = [(believed[name], competence[name]) for name in sorted(believed)]
    told = {name: t_interval(values).to_json() for name, values in arms.items()}
    return {
        "data": f"UKPConvArg1, votes of everyone with {least} or more; of every second rater "
        f"{TURNED:.0%} of the votes are turned round",
        "raters": len(believed),
        "votes": sum(len(of) for _, of in votes),
        "pairs": len(votes),
        "model": {**MODEL, "pretraining": None},
        "settings": KEYS,
        "seeds": list(range(seeds)),
        "spoilt raters told apart (area under the curve; by chance 0.5)": {
            name: told[name] for name in ("robust_em", "names mixed", "agreement with the others")
        },
        "believed": {name: told[name] for name in told if name.startswith("believed")},
        "as they are: rank correlation with the published competence": cluster_bootstrap(
            pairs, None, rank_correlation, unit="raters"
        ).to_json(),
        "control": "names mixed: the same run, the raters dealt out anew among the votes",
    }


def rank_correlation(pairs: Any) -> float:
    """Spearman's correlation of two columns."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(pairs[:, k]) for k in (0, 1)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_spoilt_raters_are_believed_less(shared_data: Callable[[str], Path]) -> None:
    found = study(shared_data("ukp_convarg1"), seeds=2)
    apart = found["spoilt raters told apart (area under the curve; by chance 0.5)"]
    assert apart["robust_em"]["value"] > apart["names mixed"]["value"] + 0.1


if __name__ == "__main__":
    studies.program("votes", study)
