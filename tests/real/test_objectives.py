"""Which objective suits HH-RLHF? A study by `prefine compare-objectives`, its length, its ranking.

Data: the helpful transcripts of `test_hh.py`; the same two-layer Llama that saw these conversations
and nothing else. DPO, IPO, SimPO and DPO with its length taken out of the margin get the same
trials; what decides is how often the better response of a held-out pair gained more. What the best
of each has learnt of length is told by the correlation of its margin with the lead in tokens, and
its ranking accuracy stands beside what its reference allows at best.

As a program, `python tests/real/test_objectives.py DATA` writes docs/results/objectives.json.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import studies

MODEL = {"vocabulary": 2048, "width": 64, "layers": 2}
MAX_LENGTH = 256
NAMES = ("dpo", "ipo", "simpo", "length_regularised_dpo")
RANKING = ("accuracy", "reference_accuracy", "idealised_accuracy")
TRIALS, SEEDS, RATES, STEPS, SFT_STEPS = 2, 5, (1e-4, 1e-3), 60, 200
TRAINING = {
    "use_cpu": True, "per_device_train_batch_size": 8, "save_strategy": "no",
    "eval_strategy": "no",
}  # fmt: skip


def study(folder: Path) -> dict[str, Any]:
    """Imitate, compare, and look at the best of each."""
    from prefine.recipes import Study, compare_objectives
    from prefine.records import load

    out = Path(tempfile.mkdtemp())
    records = studies.hh(folder, "train", out)
    records.save(out / "pairs.jsonl")
    words = studies.tokenizer(studies.texts(records), MODEL["vocabulary"])
    size = {key: MODEL[key] for key in ("width", "layers")}
    studies.run(
        objective="sft", model=studies.untrained(out / "new", words, seed=0, **size),
        data=out / "pairs.jsonl", holdout=0, out=out / "sft", max_length=MAX_LENGTH,
        training={**TRAINING, "learning_rate": 1e-3, "max_steps": SFT_STEPS},
    )  # fmt: skip
    asked = Study(
        data=str(out / "pairs.jsonl"), model=str(out / "sft" / "model"), out=out / "study",
        objectives=NAMES, trials=TRIALS, seeds=SEEDS, rates=RATES, samples=24, max_new_tokens=24,
        settings={"max_length": MAX_LENGTH, "training": {**TRAINING, "max_steps": STEPS}},
    )  # fmt: skip
    finding = compare_objectives(asked)
    found = finding.to_json()
    test = load(str(out / "study" / "data" / "test.jsonl"))
    return {
        "data": "HH-RLHF helpful, training parts: base, online, rejection-sampled",
        "model": {**MODEL, "pretraining": "sft on the chosen responses"},
        "settings": {
            "max_length": MAX_LENGTH, "training": TRAINING, "steps": STEPS, "rates": RATES,
            "trials": TRIALS, "seeds": SEEDS,
        },
        "words": finding.choice.words,
        "choice": found["choice"],
        "objectives": found["objectives"],
        "length and ranking, over seeds": {name: beside(name, out, test) for name in NAMES},
    }  # fmt: skip


def beside(name: str, out: Path, test: Any) -> dict[str, Any]:
    """Length correlation and ranking accuracy of the final runs of one objective."""
    from prefine.statistics import t_interval

    runs = [reported(out / "study" / "final" / name / str(s), out, test) for s in seeds_of()]
    return {
        key: t_interval([run[key] for run in runs]).to_json()
        for key in ("length_correlation", *RANKING)
    }


def seeds_of() -> range:
    """The seeds of the final runs."""
    return range(1, SEEDS + 1)


def reported(run: Path, out: Path, test: Any) -> dict[str, float]:
    """Numbers of one run on the pairs that chose nothing."""
    from prefine.adapters import CausalLM
    from prefine.evaluation import length_correlation
    from prefine.evaluation.ranking import ranking_report
    from prefine.models import load_policy, load_tokenizer, score_rows

    start = str(out / "sft" / "model")
    adapter = CausalLM(load_tokenizer(start), max_length=MAX_LENGTH)
    view = test.pairs()
    rows = adapter.prepare(view).dataset
    ours, theirs = (
        score_rows(rows, load_policy(model), adapter) for model in (str(run / "model"), start)
    )
    lengths = [[float(mask.sum()) for mask in row["mask"]] for row in rows]
    kept = [view.rows[row["at"]] for row in rows]
    found = ranking_report(kept, ours, theirs, lengths, beta=0.1)
    gained = [
        [a - b for a, b in zip(*each, strict=True)] for each in zip(ours, theirs, strict=True)
    ]
    lead = [one - other for one, other in gained]
    longer = [one - other for one, other in lengths]
    clusters = [row["cluster"] for row in rows]
    told = {
        key: found[key].value for key in ("accuracy", "reference_accuracy", "idealised_accuracy")
    }
    return told | {"length_correlation": length_correlation(lead, longer, clusters).value}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_comparison_runs_from_end_to_end(
    shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TRIALS": 1, "SEEDS": 2, "STEPS": 3, "SFT_STEPS": 10}.items():
        monkeypatch.setitem(globals(), name, value)
    found = study(shared_data("hh_helpful"))
    assert found["choice"]["means"].keys() == set(NAMES)
    for told in found["length and ranking, over seeds"].values():
        assert told["reference_accuracy"]["value"] <= told["idealised_accuracy"]["value"]


if __name__ == "__main__":
    studies.program("objectives", study)
