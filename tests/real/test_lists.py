"""Which answer of three is ranked highest, and do rankings teach it better than pairs?

Data: SQuALITY's human evaluation: 70 questions on 14 stories, two systems and a person, ranked by
three reviewers each. The stories are not part of it, so answers are judged without them. Two
stories are left out in turn, seven times; a small language model that saw no other text first
imitates all answers of the other stories, then learns from their rankings by Plackett-Luce, by all
ordered pairs, by the best beside the worst, or by the best alone. Every arm has the same steps and
starts from the same model. It is judged by Kendall's tau of its log-ratios with the mean ranks on
the stories left out, and by how often it puts the best first. The interval is Student's t over the
seven folds. Controls: rankings dealt out anew within each question, and the longer answer first.

The learning rate of each arm is the better of two on the first fold, of which the others know
nothing; `without_the_choosing_fold` leaves it out.

As a program, `python tests/real/test_lists.py DATA` writes docs/results/lists.json.
"""

import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import studies

MODEL = {"vocabulary": 1000, "width": 64, "layers": 2}
FOLDS, STEPS, RATES = 7, 30, (3e-4, 1e-3)
TRAINING = {
    "use_cpu": True, "per_device_train_batch_size": 4, "max_steps": STEPS, "eval_strategy": "no",
    "save_strategy": "no",
}  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "plackett_luce": {"objective": "plackett_luce"},
    "all pairs": {"objective": "ranklist"},
    "best and worst": {"objective": "dpo", "rows": {"pairs": "best_vs_worst"}},
    "the best alone": {"objective": "sft"},
    "rankings dealt anew": {"objective": "plackett_luce"},
}
MAX_LENGTH = 1536
CONTROL = "rankings dealt anew"


def dealt_anew(records: Any, seed: int) -> Any:
    """Give the answers of each question each other's place in all rankings."""
    from prefine.records import Records

    rng = random.Random(seed)
    found = []
    for record in records:
        names = [candidate.id for candidate in record.candidates]
        other = dict(zip(names, rng.sample(names, len(names)), strict=True))
        judgments = tuple(
            replace(
                j,
                ranks=j.ranks and {other[name]: rank for name, rank in j.ranks.items()},
                scores=j.scores and {other[name]: score for name, score in j.scores.items()},
            )
            for j in record.judgments
        )
        found.append(replace(record, judgments=judgments))
    return Records.of(found)


def overall(records: Any) -> Any:
    """Keep the overall rankings, which all arms read; name the story, whose text is not there."""
    from prefine.records import Message, Records

    return Records.of(
        replace(
            record,
            context=(Message("user", f"story {record.tags['passage']}"),),
            judgments=tuple(
                j for j in record.judgments if j.kind == "rank" and j.aspect == "overall"
            ),
        )
        for record in records
    )


def best_alone(records: Any) -> Any:
    """Keep the answer with the best mean rank of each question, to be imitated."""
    from prefine.records import Records
    from prefine.records.votes import utilities

    found = []
    for record in records:
        worth = utilities(record.judgments)
        assert isinstance(worth, dict)
        best = max(worth, key=worth.__getitem__)
        found.append(replace(record, candidates=(record.candidate(best),), judgments=()))
    return Records.of(found)


def judged(policies: dict[str, str], start: str, test: Any) -> dict[str, dict[str, float]]:
    """Compare the order by log-ratio with the mean ranks; and the order by length, in tokens."""
    import numpy as np

    from prefine.adapters import CausalLM
    from prefine.models import load_policy, load_tokenizer
    from prefine.models.score import score_rows

    adapter = CausalLM(load_tokenizer(start), max_length=MAX_LENGTH)
    view = test.lists()
    rows = adapter.prepare(view).dataset
    worth = np.array([view.rows[row["at"]]["utility"] for row in rows])
    lengths = np.array([[float(mask.sum()) for mask in row["mask"]] for row in rows])
    before = np.array(score_rows(rows, load_policy(start), adapter))
    found = {"longer first": agreement(lengths, worth)}
    for name, policy in policies.items():
        after = np.array(score_rows(rows, load_policy(policy), adapter))
        found[name] = agreement(after - before, worth)
    return found


def agreement(scores: Any, worth: Any) -> dict[str, float]:
    """Compare two orders of each row; equal places say nothing, and count half."""
    import numpy as np

    first, second = np.triu_indices(scores.shape[1], 1)
    said, true = (np.sign(each[:, first] - each[:, second]) for each in (scores, worth))
    tau = (said * true).sum() / np.abs(true).sum()
    best = worth == worth.max(1, keepdims=True)
    return {"tau": float(tau), "best first": float(best[range(len(best)), scores.argmax(1)].mean())}


def fold(records: Any, stories: Sequence[str], at: int, out: Path) -> dict[str, dict[str, float]]:
    """Leave two stories out; train every arm on the others."""
    out.mkdir(parents=True)
    left = set(stories[2 * at : 2 * at + 2])
    train = records.filter(lambda record: record.tags["passage"] not in left)
    test = records.filter(lambda record: record.tags["passage"] in left)
    words = studies.tokenizer(studies.texts(train), MODEL["vocabulary"])
    size = {key: MODEL[key] for key in ("width", "layers")}
    data = {
        "rankings": train, "anew": dealt_anew(train, at), "best": best_alone(train),
        "answers": [replace(r, candidates=(c,), judgments=()) for r in train for c in r.candidates],
    }  # fmt: skip
    from prefine.records import Records

    for name, kept in data.items():
        Records.of(kept).save(out / f"{name}.jsonl")
    common: dict[str, Any] = {"holdout": 0, "seed": at, "max_length": MAX_LENGTH}
    studies.run(
        objective="sft", model=studies.untrained(out / "new", words, seed=at, **size),
        data=out / "answers.jsonl", out=out / "sft",
        training={**TRAINING, "learning_rate": 3e-3, "max_steps": 4 * STEPS}, **common,
    )  # fmt: skip
    start = str(out / "sft" / "model")
    made: dict[str, str] = {}
    for name, arm in ARMS.items():
        data_of = {"the best alone": "best", CONTROL: "anew"}.get(name, "rankings")
        for rate in RATES:
            run = out / f"{name} {rate}"
            studies.run(
                model=start, data=out / f"{data_of}.jsonl", out=run,
                training={**TRAINING, "learning_rate": rate}, **arm, **common,
            )  # fmt: skip
            made[f"{name} at {rate:g}"] = str(run / "model")
    return judged(made, start, test)


def study(folder: Path) -> dict[str, Any]:
    """Leave every two stories out in turn."""
    from prefine.records import load
    from prefine.statistics import paired_t, t_interval

    out = Path(tempfile.mkdtemp())
    records = overall(load(folder / "all-responses.jsonl.gz", rejects=out / "rejects.jsonl"))
    stories = sorted({record.tags["passage"] for record in records})
    random.Random(0).shuffle(stories)
    by_fold = [fold(records, stories, at, out / str(at)) for at in range(FOLDS)]
    chosen = {
        name: max(RATES, key=lambda rate, name=name: by_fold[0][f"{name} at {rate:g}"]["tau"])
        for name in ARMS
    }
    names = {name: f"{name} at {rate:g}" for name, rate in chosen.items()}
    names["longer first"] = "longer first"

    def told(folds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
        values: dict[str, dict[str, list[float]]] = defaultdict(dict)
        for name, key in names.items():
            for measure in ("tau", "best first"):
                values[measure][name] = [one[key][measure] for one in folds]
        lead = {
            name: paired_t(values["tau"]["plackett_luce"], values["tau"][name])
            for name in names
            if name != "plackett_luce"
        }
        return {
            measure: {name: _over_folds(t_interval(each)) for name, each in of.items()}
            for measure, of in values.items()
        } | {"tau of plackett_luce minus": {name: _over_folds(s) for name, s in lead.items()}}

    return {
        "data": f"SQuALITY: {len(records)} questions on {len(stories)} stories, overall ranks of "
        "three reviewers",
        "model": {**MODEL, "pretraining": "sft on all answers of the training stories"},
        "settings": {"training": TRAINING, "rates": RATES, "arms": ARMS},
        "rates_chosen_on_the_first_fold": chosen,
        "all_folds": told(by_fold),
        "without_the_choosing_fold": told(by_fold[1:]),
        "control": "rankings dealt anew within each question; the longer answer first",
    }


def _over_folds(stat: Any) -> dict[str, Any]:
    return replace(stat, seeds=None, method="t over folds").to_json()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_rankings_are_read_and_every_arm_runs(
    shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FOLDS": 2, "STEPS": 4, "RATES": (1e-3,)}.items():
        monkeypatch.setitem(globals(), name, value)
    monkeypatch.setitem(TRAINING, "max_steps", 4)
    found = study(shared_data("squality_human_eval"))
    assert found["all_folds"]["tau"].keys() == {*ARMS, "longer first"}
    assert found["data"].startswith("SQuALITY: 70 questions on 14 stories")
    assert found["all_folds"]["tau"]["longer first"]["value"] > 0


if __name__ == "__main__":
    studies.program("lists", study)
