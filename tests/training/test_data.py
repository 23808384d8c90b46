"""From records to rows: the view that an objective takes, and nothing lost on the way."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, ObjectiveError, RecordError
from prefine.objectives import bradley_terry, dpo, kto, plackett_luce, sft, sppo
from prefine.objectives.declare import name_of, spec
from prefine.records import Records, load
from prefine.training.config import DataConfig
from prefine.training.data import load_data, make_view
from prefine.training.fit import refuse_idle

ROWS = [{"prompt": f"{n % 8}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(40)]


def view(records: Any, objective: Any, **options: Any) -> Any:
    declared, name = spec(objective), name_of(objective)
    given = DataConfig(**options)
    refuse_idle(given, declared)
    return make_view(records, declared, given, name=name, seed=0)


def test_each_objective_gets_its_view() -> None:
    records = load(ROWS, format="trl_preference")
    assert view(records, dpo).kind == "pair"
    assert view(records, kto()).kind == "point"
    imitated = view(records, sft)
    assert imitated.kind == "point"
    assert len(imitated) == 40
    assert all(row["label"] == [True] for row in imitated.rows), "what lost is not imitated"


def test_what_does_not_fit_names_what_would() -> None:
    pairs = load(ROWS[:3], format="trl_preference")
    with pytest.raises(RecordError, match=r"3 records hold no list .*try dpo, simpo or reward"):
        view(pairs, plackett_luce)
    prompts = load([{"prompt": "why?"}], format="trl_prompt_only")
    with pytest.raises(RecordError, match=r"1 records hold no response to imitate"):
        view(prompts, sft)
    thumbs = load(
        [{"prompt": "why?", "completion": "so", "label": good} for good in (True, False)],
        format="trl_unpaired",
    )
    with pytest.raises(RecordError, match=r"2 records hold no pair .* with a label: try kto, bco"):
        view(thumbs, dpo)
    shown = load([{"prompt": "why?", "completion": "so"}], format="trl_prompt_completion")
    with pytest.raises(RecordError, match=r"1 records hold no pair .*nobody judged: try sft"):
        view(shown, dpo)
    with pytest.raises(ObjectiveError, match=r"kto needs `label`, which no row .*try sft"):
        view(shown, kto())
    with pytest.raises(ObjectiveError, match=r"sppo needs `utility`, .*try dpo, simpo or reward"):
        view(pairs, partial(sppo, graded=True))


def test_what_nobody_judged_is_not_taken_for_bad() -> None:
    """A demonstration among thumbs has no label; as an undesirable one it would be unlearnt."""
    rows = [{"prompt": "why?", "completion": "so", "label": good} for good in (True, False)]
    mixed = load(rows, format="trl_unpaired")
    shown = load([{"prompt": "how?", "completion": "thus"}], format="trl_prompt_completion")
    both = Records.of([*mixed, *shown], source="both", format="prefine")
    made = view(both, kto())
    assert [row["label"] for row in made.rows] == [[True], [False]]
    assert made.set_aside["no label"] == 1


@pytest.mark.parametrize(
    ("objective", "option", "says"),
    [
        (
            dpo,
            {"threshold": 3.0},
            "rows.threshold shapes point rows, but this objective",
        ),
        (kto(), {"votes": "soft"}, "rows.votes shapes pair rows"),
        (plackett_luce, {"min_gap": 1.0}, "rows.min_gap shapes pair rows"),
        (dpo, {"ties": "keep"}, "does not read ties, so they would be dropped"),
    ],
)
def test_an_option_that_does_nothing_is_refused(objective: Any, option: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        view(load(ROWS[:3], format="trl_preference"), objective, **option)


def fetch(tmp_path: Path, configure: Any, tokenizer: Any, objective: Any, **more: Any) -> Any:
    rows = more.pop("data_rows", ROWS)
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    config = configure(data=str(path), **more)
    return load_data(config, spec(objective), CausalLM(tokenizer), name=name_of(objective))


def test_a_prompt_stands_on_one_side(tmp_path: Path, configure: Any, tiny_tokenizer: Any) -> None:
    data = fetch(tmp_path, configure, tiny_tokenizer, dpo, holdout=0.3)
    clusters = [{row["cluster"] for row in v.rows} for v in (data.train_view, data.held_out_view)]
    assert not clusters[0] & clusters[1]
    assert len(data.train) + len(data.held_out) == 40
    assert data.facts["records"] == 40
    assert "⟦" in data.sample


def test_no_holdout_is_no_holdout(tmp_path: Path, configure: Any, tiny_tokenizer: Any) -> None:
    data = fetch(tmp_path, configure, tiny_tokenizer, dpo, holdout=0)
    assert (len(data.train), data.held_out, data.held_out_view) == (40, None, None)


def test_too_few_prompts_to_hold_out(tmp_path: Path, configure: Any, tiny_tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"holdout=0\.001: of 40 records.*holdout=0 to train"):
        fetch(tmp_path, configure, tiny_tokenizer, dpo, holdout=0.001)


@pytest.mark.parametrize("where", ["train", "held out"])
def test_a_field_that_nothing_reads_is_refused_on_either_side(
    tmp_path: Path, configure: Any, tiny_tokenizer: Any, where: str
) -> None:
    marked = [{**row, "margin": 2.0} for row in ROWS]
    other = tmp_path / "eval.jsonl"
    other.write_text("\n".join(json.dumps(r) for r in (ROWS if where == "train" else marked)))
    given: dict[str, Any] = {
        "data_rows": marked if where == "train" else ROWS, "eval_data": str(other),
    }  # fmt: skip
    with pytest.raises(ObjectiveError, match="carries `margin`"):
        fetch(tmp_path, configure, tiny_tokenizer, dpo, **given)
    fetch(tmp_path, configure, tiny_tokenizer, dpo, rows={"ignore": ["margin"]}, **given)
    reads = partial(bradley_terry, margin="subtract")
    with pytest.raises(ObjectiveError, match="bradley_terry needs `margin`, which no row"):
        fetch(tmp_path, configure, tiny_tokenizer, reads, **given)
    other.write_text("\n".join(json.dumps(r) for r in marked))
    fetch(tmp_path, configure, tiny_tokenizer, reads, **{**given, "data_rows": marked})


def test_columns_to_keep_are_kept_in_held_out_data_too(
    tmp_path: Path, configure: Any, tiny_tokenizer: Any
) -> None:
    noted = [{**row, "note": "n"} for row in ROWS]
    other = tmp_path / "eval.jsonl"
    other.write_text("\n".join(json.dumps(row) for row in noted))
    data = fetch(
        tmp_path, configure, tiny_tokenizer, dpo, data_rows=noted, eval_data=str(other),
        rows={"keep_columns": ["note"]},
    )  # fmt: skip
    assert len(data.held_out) == 40


def test_columns_by_other_names_are_read_in_both_parts(
    tmp_path: Path, configure: Any, tiny_tokenizer: Any
) -> None:
    asked = [{"question" if key == "prompt" else key: v for key, v in r.items()} for r in ROWS]
    other = tmp_path / "eval.jsonl"
    other.write_text("\n".join(json.dumps(row) for row in asked))
    data = fetch(
        tmp_path, configure, tiny_tokenizer, dpo, data_rows=asked, eval_data=str(other),
        rows={"rename": {"question": "prompt"}},
    )  # fmt: skip
    assert (len(data.train), len(data.held_out)) == (40, 40)


def test_what_is_set_aside_is_counted_over_both_parts(
    tmp_path: Path, configure: Any, tiny_tokenizer: Any
) -> None:
    rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in ROWS]
    for row in rows:
        row["chosen"] = [{"role": "assistant", "content": str(row["chosen"])}]
        row["rejected"] = [{"role": "assistant", "content": "no"}]
    for at in (0, 1, 2, 3):  # four prompts
        rows[at]["chosen"] = [{"role": "assistant", "content": "<|im_end|>"}]
    data = fetch(tmp_path, configure, tiny_tokenizer, dpo, data_rows=rows, holdout=0.5)
    assert sum(data.set_aside.values()) == 4
    assert len(data.train) + len(data.held_out) == 36


def test_partners_are_drawn_anew_each_epoch(
    tmp_path: Path, configure: Any, tiny_tokenizer: Any
) -> None:
    made = [{"prompt": f"{n}?", "completion": f"c{n}", "label": n % 2 == 0} for n in range(20)]
    data = fetch(tmp_path, configure, tiny_tokenizer, kto(), data_rows=made, holdout=0)

    def partners(epoch: int) -> list[bytes]:
        encoded = data.train.epochs(epoch)
        assert all(row["roles"] == ["response", "mismatched"] for row in encoded)
        return [row["response"][1].tobytes() for row in encoded]

    assert partners(0) == partners(0)
    assert partners(0) != partners(1)
    own = [row["response"][0].tobytes() for row in data.train.epochs(0)]
    assert not [n for n, (a, b) in enumerate(zip(own, partners(0), strict=True)) if a == b]
