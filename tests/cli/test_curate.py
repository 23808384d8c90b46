"""`prefine curate`: what it writes, what it says, how it ends."""

import json

import pytest

from prefine.records import load


@pytest.fixture
def rated(tmp_path):
    """Return a file of two rated pairs, the second a tie."""
    names = ["c0", "c1"]
    records = [
        {
            "schema": "prefine/1",
            "id": "",
            "source": {"name": "test", "row": n},
            "context": [{"role": "user", "content": f"Is it {n}?"}],
            "candidates": [
                {"id": name, "messages": [{"role": "assistant", "content": text}]}
                for name, text in zip(names, ("yes", "no"), strict=True)
            ],
            "judgments": [
                {
                    "id": "r", "kind": "rate", "shown": names,
                    "rater": {"id": "ann", "type": "human"},
                    "scores": {"c0": 9.0, "c1": low}, "scale": [1, 10],
                }
            ],
        }
        for n, low in enumerate((2.0, 9.0))
    ]  # fmt: skip
    path = tmp_path / "rated.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_curate_writes_records_and_says_what_became_none(prefine, rated, tmp_path):
    code, out, err = prefine("curate", "goals", rated, "--out", "goals.jsonl")
    assert code == 0
    assert "2 records of 2 -> goals.jsonl" in out
    assert "set aside: tie (1)" in err
    assert len(load(tmp_path / "goals.jsonl")) == 2
    code, out, err = prefine("data", "inspect", "goals.jsonl", "--json")
    assert json.loads(out)["records"] == 2


def test_curate_json(prefine, rated):
    code, out, err = prefine(
        "curate", "goals", rated, "--out", "g.jsonl", "--set", "low=1", "--set", "high=10", "--json"
    )
    found = json.loads(out)
    assert (code, found["records"], found["set_aside"]) == (0, 2, {"tie": 1})
    assert err == "", "no progress beside JSON"


def test_nothing_made_is_a_failure_and_leaves_no_file(prefine, home, tmp_path):
    code, _, err = prefine("curate", "goals", home / "pairs.jsonl", "--out", "none.jsonl")
    assert code == 1
    assert "made nothing of 40 records: no score (40)" in err
    assert not (tmp_path / "none.jsonl").exists()


def test_misuse(prefine, rated):
    code, _, err = prefine("curate", "goals", rated)
    assert (code, "--out FILE" in err) == (2, True)
    code, _, err = prefine("curate", "goals", rated, "--out", "a.jsonl", "--set", "hi=3")
    assert (code, "no option `hi`" in err) == (2, True)
    before = rated.read_bytes()
    code, _, err = prefine("curate", "goals", rated, "--out", rated)
    assert (code, "is the data itself" in err, rated.read_bytes() == before) == (2, True, True)


def test_list(prefine):
    code, out, _ = prefine("curate", "--list")
    assert (code, "goals" in out) == (0, True)
    code, out, _ = prefine("curate", "goals", "--list")
    assert "arXiv:2410.08067" in out
    assert [one["name"] for one in json.loads(prefine("curate", "--list", "--json")[1])]


@pytest.mark.parametrize(
    ("operator", "options"),
    [("goals", ()), ("shots", ()), ("shots", ("--set", "describe=profile"))],
)
def test_what_was_made_can_be_trained_on(prefine, home, tmp_path, operator, options):
    """By a run, whose split keeps together what was made of one pair."""
    rater = {"id": "ann", "type": "human"}
    records = [
        {
            "schema": "prefine/1",
            "source": {"name": "test", "row": n},
            "context": [{"role": "user", "content": f"Is it {n}?"}],
            "candidates": [
                {"id": name, "messages": [{"role": "assistant", "content": text}]}
                for name, text in (("c0", "yes"), ("c1", "no"))
            ],
            "judgments": [
                {"id": "r", "kind": "rate", "shown": ["c0", "c1"], "rater": rater,
                 "scores": {"c0": 9, "c1": 2}, "scale": [1, 10]}
            ],
            "principal": {"id": "ann", "profile": "Likes short words."},
        }
        for n in range(20)
    ]  # fmt: skip
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert prefine("curate", operator, "in.jsonl", "--out", "out.jsonl", *options)[0] == 0
    code, out, err = prefine(
        "train", "ipo", "--model", home / "model", "--data", "out.jsonl", "--out", "run",
        "--set", "options.average=false", "--set", "training.use_cpu=true", "--set", "holdout=0.3",
        "--dry-run", "--json",
    )  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    rows = summary["rows"]
    assert rows["train"] + rows["held_out"] == (40 if operator == "goals" else 20)
    assert summary["set_aside"] == {}
    if operator == "goals":
        assert rows["held_out"] % 2 == 0, "both goals of a pair are on one side"
    assert ("⟦Description: Likes short words." in err) == bool(options)


def test_a_description_that_nobody_has_is_refused(prefine, home, tmp_path):
    options = ("--set", "describe=profile", "--out", "out.jsonl")
    code, _, err = prefine("curate", "shots", home / "pairs.jsonl", *options)
    assert code == 2
    assert "no record has `principal.profile`" in " ".join(err.replace("│", " ").split())


# --- Models that write ---

SOLVED = {
    "schema": "prefine/1",
    "context": [{"role": "user", "content": "(2 + 2) x 3?"}],
    "candidates": [
        {
            "id": "c0",
            "messages": [{"role": "assistant", "content": "12"}],
            "steps": [{"text": "2 + 2 is 4."}, {"text": "4 times 3 is 12."}],
        }
    ],
}


@pytest.fixture(scope="session")
def writer(tmp_path_factory, scripted):
    """Return a model that says `1`, `0`, or that something was cut off."""
    return scripted(tmp_path_factory.mktemp("writer") / "writer", {"\n": "10z", "z": "z"})


def test_a_model_edits(prefine, writer, tmp_path):
    rows = [{"prompt": f"Is it {n}?", "completion": "1"} for n in range(30)]
    (tmp_path / "told.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("curate", "edits", "told.jsonl", "--set", f"editor={writer}", "--set", "kept=0",
             "--set", "editor.max_new_tokens=3")  # fmt: skip
    code, out, err = prefine(*words, "--out", "a.jsonl", "--json")
    assert code == 0, err
    found = json.loads(out)
    aside = found["set_aside"]
    assert aside.keys() == {
        "the editor changed nothing", "an answer that was cut off at 3 tokens",
    }  # fmt: skip
    assert found["records"] + sum(aside.values()) == 30
    for record in load(tmp_path / "a.jsonl"):
        assert [c.text for c in record.candidates] == ["1", "0"]
        origin = record.candidates[1].origin
        assert (origin.kind, origin.model, origin.parent) == ("edit", "writer", "c0")
        assert origin.sampling == {"max_new_tokens": 3, "temperature": 1.0, "seed": 0}
        options = record.meta["curation"][0]["options"]
        assert options["editor"] == {"max_new_tokens": 3, "model": "writer"}
    assert str(tmp_path) not in (tmp_path / "a.jsonl").read_text()
    kept = ("--set", "editor.folder=kept")
    for name in ("b", "c"):
        assert prefine(*words, *kept, "--out", f"{name}.jsonl")[0] == 0
        assert (tmp_path / f"{name}.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()
    code, _, err = prefine(*words, *kept, "--set", "seed=1", "--out", "d.jsonl")
    assert (code, "kept holds responses that differ in" in " ".join(err.split())) == (1, True)


def test_a_model_plays_the_student(prefine, writer, tmp_path):
    rows = [{**SOLVED, "source": {"name": "test", "row": n}} for n in range(20)]
    (tmp_path / "solved.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("curate", "tutor", "solved.jsonl", "--out", "turns.jsonl", "--json")
    code, out, err = prefine(*words, "--set", f"student={writer}", "--set",
                             "student.max_new_tokens=3")  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["set_aside"].keys() == {"an answer that was cut off at 3 tokens"}
    assert found["records"] + sum(found["set_aside"].values()) == 40
    said = [r.context[-1].text for r in load("turns.jsonl") if r.tags["student"] == "wrong"]
    assert set(said) == {"0", "1"}


def test_a_function_in_this_folder_edits(prefine, tmp_path):
    (tmp_path / "editors_of_a_test.py").write_text(
        "def shout(prompts, completions):\n    return [text + ' NOW' for text in completions]\n"
    )
    (tmp_path / "told.jsonl").write_text(json.dumps({"prompt": "Why?", "completion": "Eat it."}))
    words = ("curate", "edits", "told.jsonl", "--out", "a.jsonl", "--set",
             "editor=editors_of_a_test:shout")  # fmt: skip
    assert prefine(*words)[0] == 0
    (record,) = load(tmp_path / "a.jsonl")
    assert record.candidates[1].text == "Eat it. NOW"
    code, _, err = prefine(*words, "--set", "editor.temperature=0.5")
    assert (code, "is a function, which temperature" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("editor.tempo=1", "edits has no option `editor.tempo`. Did you mean `editor.temp"),
        ("kept.a=1", "edits has no option `kept.a`"),
        ("editor.temperature=1", "edits needs `editor.model`: give --set editor.model=VALUE"),
        ("editor=7", "`editor.model` of edits"),
        ("editor=no/such/model", "no/such/model"),
    ],
)
def test_misuse_of_an_editor(prefine, tmp_path, wrong, said):
    (tmp_path / "told.jsonl").write_text(json.dumps({"prompt": "Why?", "completion": "Eat it."}))
    code, _, err = prefine("curate", "edits", "told.jsonl", "--out", "a.jsonl", "--set", wrong)
    assert code == 2, err
    assert said in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "a.jsonl").exists()
