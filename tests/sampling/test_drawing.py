"""Responses are kept part by part: a kill costs one part, and changes nothing that is drawn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.errors import RunFolderError
from prefine.records import Message, Record, Source, load
from prefine.sampling import BeamSampler, Drawing, LanguageSampler, draw_responses
from prefine.sampling.drawing import DRAWN, part_seed

ASKED = [
    Record(source=Source("test", row=row), context=(Message("user", f"say {row}"),), candidates=())
    for row in range(5)
]


@pytest.fixture
def sampler(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> LanguageSampler:
    return LanguageSampler(tiny_llama(initializer_range=0.1), tiny_tokenizer, max_new_tokens=6)


def drawing(**changed: Any) -> Drawing:
    given = {"model": "m", "asked": ASKED, "n": 2, "seed": 3, "part": 2, "sampling": {"seed": 3}}
    return Drawing(**{**given, **changed})


def test_each_part_is_what_the_sampler_draws_with_its_seed(
    sampler: LanguageSampler, tmp_path: Path
) -> None:
    made = draw_responses(lambda: sampler, drawing(), tmp_path / "out")
    records = list(load(made.path))
    assert made.prompts == len(records) == 5
    assert made.responses == 10
    assert not (tmp_path / "out" / DRAWN).exists()
    cut = 0
    for part in range(3):
        expected = sampler(ASKED[2 * part : 2 * part + 2], n=2, seed=part_seed(3, part))
        for at, record in enumerate(records[2 * part : 2 * part + 2]):
            assert record.context == ASKED[2 * part + at].context
            texts = [candidate.text for candidate in record.candidates]
            assert texts == [c.text for c in expected.records[at].candidates]
            for k, candidate in enumerate(record.candidates):
                assert candidate.origin.model == "policy"
                assert candidate.origin.sampling == {"seed": 3}
                told = float(expected.log_probs[at, k])
                assert candidate.stats["log_prob"] == pytest.approx(told, abs=1e-6)
                assert candidate.stats["finished"] == float(expected.finished[at, k])
                cut += not expected.finished[at, k]
    assert made.cut == cut > 0


def test_another_seed_draws_others(sampler: LanguageSampler, tmp_path: Path) -> None:
    texts = {seed: (tmp_path / f"{seed}" / "records.jsonl", drawing(seed=seed)) for seed in (3, 4)}
    said = []
    for path, what in texts.values():
        draw_responses(lambda: sampler, what, path.parent)
        said.append([c.text for record in load(path) for c in record.candidates])
    assert said[0] != said[1]


@pytest.mark.parametrize("torn", ["", '{"schema": "pref'])
def test_a_kill_costs_a_part_and_changes_nothing(
    torn: str, sampler: LanguageSampler, tmp_path: Path
) -> None:
    whole = draw_responses(lambda: sampler, drawing(), tmp_path / "whole")
    calls: list[int] = []

    def dying(records: Any, n: int, seed: int) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(seed)
        return sampler(records, n=n, seed=seed)

    with pytest.raises(KeyboardInterrupt):
        draw_responses(lambda: dying, drawing(), tmp_path / "out")
    kept = tmp_path / "out" / DRAWN
    lines = kept.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == 4
    if torn:
        kept.write_text("".join(lines[:3]) + torn, encoding="utf-8")

    def counted(records: Any, n: int, seed: int) -> Any:
        calls.append(seed)
        return sampler(records, n=n, seed=seed)

    made = draw_responses(lambda: counted, drawing(), tmp_path / "out", resume=True)
    assert calls[2:] == [part_seed(3, part) for part in ((1, 2) if torn else (2,))]
    assert made.path.read_bytes() == whole.path.read_bytes()
    again = draw_responses(lambda: pytest.fail("all was drawn"), drawing(), tmp_path / "out",
                           resume=True)  # fmt: skip
    assert again == made


def test_folders_of_others_are_refused(sampler: LanguageSampler, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds no responses"):
        draw_responses(lambda: sampler, drawing(), tmp_path / "full")

    def fails() -> Any:
        raise OSError("no such model")

    with pytest.raises(OSError, match="no such model"):
        draw_responses(fails, drawing(model="wrong"), tmp_path / "out")
    draw_responses(lambda: sampler, drawing(), tmp_path / "out")
    with pytest.raises(RunFolderError, match="--resume"):
        draw_responses(lambda: sampler, drawing(), tmp_path / "out")
    for changed in ({"seed": 4}, {"model": "other"}, {"n": 1}, {"asked": ASKED[:4]}):
        name = {"asked": "prompts"}.get(*changed, *changed)
        with pytest.raises(RunFolderError, match=f"differ in {name}"):
            draw_responses(lambda: sampler, drawing(**changed), tmp_path / "out", resume=True)
    settings = json.loads((tmp_path / "out" / "generate.json").read_text(encoding="utf-8"))
    assert settings["seed"] == 3


def test_a_search_is_recorded_like_a_draw(
    tiny_llama: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    model = tiny_llama(initializer_range=0.3)
    search = BeamSampler(model, tiny_tokenizer, max_new_tokens=5, beams=3)
    made = draw_responses(lambda: search, drawing(sampling={"beams": 3}), tmp_path / "out")
    found = search(ASKED, n=2)
    records = list(load(made.path))
    assert [[c.text for c in r.candidates] for r in records] == [
        [c.text for c in r.candidates] for r in found.records
    ]
    told = torch.tensor([[c.stats["log_prob"] for c in r.candidates] for r in records])
    torch.testing.assert_close(told, found.log_probs, atol=1e-5, rtol=0)
