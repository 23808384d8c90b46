"""SAMI in rounds: grids reach the loss in their places, and a kill costs a stage."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, ObjectiveError, RecordError
from prefine.models import load_policy, load_tokenizer
from prefine.objectives.grid import grid_contrast
from prefine.recipes import Principles, SamiRounds, run_sami
from prefine.recipes.sami_rounds import OBJECTIVE, RATE, grid_prompts
from prefine.records import Candidate, Message, Record, Records, Source, load
from prefine.records.grids import GRID, INSTRUCTION, grids
from prefine.scores import Scores
from prefine.training.config import parse
from prefine.training.run import train
from prefine.training.trainer import PreferenceTrainer

BOTH = Principles((("Be kind.", "Be rude."),))
BRIEF = {
    "max_steps": 4, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1,
    "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "dataloader_pin_memory": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> str:
    folder = tmp_path_factory.mktemp("sami") / "model"
    tiny_llama(initializer_range=0.3).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def asked() -> Records:
    return Records.of(
        Record(source=Source("s", row=n), context=(Message("user", f"say {n}"),), candidates=())
        for n in range(8)
    )


def rounds(model: str, **more: Any) -> SamiRounds:
    given: dict[str, Any] = {
        "model": model, "principles": BOTH, "rounds": 2, "max_new_tokens": 6,
        "settings": {"training": {**BRIEF, "learning_rate": 3e-3}},
    }  # fmt: skip
    return SamiRounds(**{**given, **more})


def steps(folder: Path) -> list[float]:
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def cell(network: Any, tokenizer: Any, prompt: Record, said: str) -> torch.Tensor:
    """Mean log-probability of a token of a response, its end included, by a plain pass."""
    told = [{"role": m.role, "content": m.content} for m in prompt.context]
    start = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    tokens = [
        tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (start, f"{said}<|im_end|>")
    ]
    found = network(input_ids=torch.tensor([tokens[0] + tokens[1]])).logits[0].log_softmax(-1)
    at = range(len(tokens[0]) - 1, len(tokens[0]) + len(tokens[1]) - 1)
    return torch.stack([found[p, t] for p, t in zip(at, tokens[1], strict=True)]).mean()


def said_under(constitutions: list[str], *said: str) -> list[Record]:
    """Two grids of fixed answers; each answer differs in its length."""
    requests = [
        Record(source=Source("s", row=n), context=(Message("user", f"say {n}"),), candidates=())
        for n in range(2)
    ]
    return [
        Record(
            source=one.source, context=one.context, tags=one.tags,
            candidates=(Candidate("c0", (Message("assistant", text),)),),
        )
        for one, text in zip(grid_prompts(requests, constitutions), said, strict=True)
    ]  # fmt: skip


def test_each_response_reaches_the_loss_under_each_constitution(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradient of a step equal those of plain passes over the four cells of each grid."""
    parts = said_under(BOTH.texts(), "yes", "no way", "a b c", "d")
    Records.of(parts).save(tmp_path / "grids.jsonl")
    gradients: list[dict[str, torch.Tensor]] = []
    after = PreferenceTrainer.training_step

    def spy(self: Any, network: Any, *given: Any, **more: Any) -> Any:
        found = after(self, network, *given, **more)
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
        return found

    monkeypatch.setattr(PreferenceTrainer, "training_step", spy)
    config = {
        "objective": OBJECTIVE, "model": model, "data": str(tmp_path / "grids.jsonl"),
        "out": str(tmp_path / "run"), "holdout": 0, "training": {**BRIEF, "max_steps": 1},
    }  # fmt: skip
    run = train(parse(config), quiet=True)
    (loss,) = steps(tmp_path)
    network, tokenizer = load_policy(model), load_tokenizer(model)
    losses = []
    for pair in (parts[:2], parts[2:]):
        s = torch.stack([
            torch.stack([cell(network, tokenizer, prompt, one.candidates[0].text) for one in pair])
            for prompt in pair
        ])  # fmt: skip
        rows = s.log_softmax(1).diagonal().mean()
        columns = s.log_softmax(0).diagonal().mean()
        losses.append(-(rows + columns) / 2)
    expected = torch.stack(losses).mean()
    assert loss == pytest.approx(float(expected.detach()), abs=1e-5)
    expected.backward()
    for name, p in network.named_parameters():
        torch.testing.assert_close(gradients[0][name], p.grad, atol=1e-5, rtol=1e-4)
    assert run.summary["formula"].startswith("-1/2 mean over i")


def test_rounds_learn_to_tell_and_go_on_where_they_stood(
    model: str, asked: Records, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    last = run_sami(asked, rounds(model), out)
    told = json.loads((out / "0-sample-0" / "sampled.json").read_text(encoding="utf-8"))
    assert (told["grids"], told["constitutions"], told["responses"]) == (8, 2, 16)
    assert told["left_out"] == 0
    records = list(load(out / "0-sample-0" / "records.jsonl"))
    assert [record.tags[INSTRUCTION] for record in records] == [0, 1] * 8
    assert len({record.tags[GRID] for record in records}) == 8
    assert "Be kind." in records[0].context[0].text
    assert "Be rude." in records[1].context[0].text
    losses = steps(out / "1-train-0")
    assert losses[-1] < losses[0]
    assert information(last, records) > information(model, records)
    summary = json.loads((out / "3-train-1" / "run" / "summary.json").read_text(encoding="utf-8"))
    assert "1-train-0" in summary["model"], "the second round starts from the first one's policy"
    assert (out / "3-train-1" / "run" / "report.html").is_file()
    before = (out / "1-train-0" / "done.json").stat().st_mtime_ns
    (out / "3-train-1" / "done.json").unlink()
    seen: list[str] = []
    again = run_sami(
        asked, rounds(model), out, resume=True, on_stage=lambda name, *_: seen.append(name)
    )
    assert (again, seen) == (last, ["train-1"])
    assert (out / "1-train-0" / "done.json").stat().st_mtime_ns == before


def information(model: str, records: list[Record]) -> float:
    adapter = CausalLM(load_tokenizer(model))
    network = load_policy(model)
    found = []
    for row in grids(records).rows:
        cells = []
        for item in row["items"]:
            told = json.loads(row["prompts"][item["prompt"]])["messages"]
            said = json.loads(row["responses"][item["response"]])[0]["content"]
            prompt = Record(context=tuple(Message(**m) for m in told), candidates=())
            with torch.no_grad():
                cells.append(float(cell(network, adapter.tokenizer, prompt, said)))
        found.append(cells)
    scores = torch.tensor(found)
    return math.log(2) - float(grid_contrast(Scores(scores, torch.ones_like(scores))).mean())


def test_held_out_grids_are_measured(model: str, asked: Records, tmp_path: Path) -> None:
    settings = {"holdout": 0.5, "training": BRIEF}
    run_sami(asked, rounds(model, rounds=1, settings=settings), tmp_path / "out")
    summary = json.loads((tmp_path / "out/1-train-0/run/summary.json").read_text(encoding="utf-8"))
    assert set(summary["metrics"]) == {"own_instruction", "information"}
    aside = sum(summary["set_aside"].values())
    assert sum(summary["rows"].values()) + aside == 8, "no grid is torn by the split"


def test_adapters_of_each_round_are_kept(model: str, asked: Records, tmp_path: Path) -> None:
    """A second adapter on a first one would forget it; so each is merged before the next."""
    settings = {"lora": {"r": 2}, "training": {**BRIEF, "learning_rate": 0.1}}
    last = run_sami(asked, rounds(model, settings=settings), tmp_path / "out")
    networks = [model, str(tmp_path / "out" / "1-train-0" / "merged"), last]
    assert last.endswith("merged")
    start, first, end = (dict(load_policy(name).named_parameters()) for name in networks)
    name = next(n for n in start if "q_proj" in n)
    moved = [(a[name] - b[name]).abs().max().item() for a, b in ((first, start), (end, first))]
    assert min(moved) > 1e-3
    ranks = torch.linalg.matrix_rank((end[name] - start[name]).detach(), atol=1e-4)
    assert int(ranks) > 2, "what both rounds learnt is there"


def test_each_round_draws_requests_of_its_own(model: str, asked: Records, tmp_path: Path) -> None:
    run_sami(asked, rounds(model, requests=3), tmp_path / "out")
    drawn = [
        {r.cluster for r in load(tmp_path / "out" / f"{2 * n}-sample-{n}" / "records.jsonl")}
        for n in range(2)
    ]
    assert [len(one) for one in drawn] == [3, 3]
    assert drawn[0] != drawn[1]


def test_the_rate_is_that_of_the_paper_unless_given() -> None:
    made = SamiRounds(model="m", principles=BOTH)
    assert made.training()["learning_rate"] == RATE == 5e-7
    assert made.training()["optim"] == "rmsprop"
    with_lora = SamiRounds(model="m", principles=BOTH, settings={"lora": {}})
    assert with_lora.training()["learning_rate"] == pytest.approx(5e-6)
    given = SamiRounds(
        model="m", principles=BOTH, settings={"training": {"learning_rate": 1e-5, "max_steps": 9}}
    )
    assert (given.training()["learning_rate"], given.training()["max_steps"]) == (1e-5, 9)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rounds": 0}, "a round or more"),
        ({"requests": 0}, "a request or more"),
        ({"settings": {"data": "d"}}, "data: the rounds set these themselves"),
        ({"settings": {"rows": {}, "reference": "m"}}, "reference, rows: the rounds set"),
    ],
)
def test_rounds_that_make_no_sense_are_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        rounds("m", **more)


def test_requests_that_cannot_be_asked_are_counted(
    model: str, asked: Records, tmp_path: Path
) -> None:
    closed = Record(context=(Message("assistant", "Hello"),), candidates=())
    with pytest.raises(RecordError, match="No request ends"):
        run_sami(Records.of([closed]), rounds(model), tmp_path / "none")
    some = Records.of([closed, *list(asked)[:3]])
    run_sami(some, rounds(model, rounds=1), tmp_path / "some")
    told = json.loads((tmp_path / "some/0-sample-0/sampled.json").read_text(encoding="utf-8"))
    assert (told["grids"], told["left_out"]) == (3, 1)


def test_pairs_are_no_grids(model: str, asked: Records, tmp_path: Path) -> None:
    asked.save(tmp_path / "asked.jsonl")
    config = {
        "objective": OBJECTIVE, "model": model, "data": str(tmp_path / "asked.jsonl"),
        "out": str(tmp_path / "run"), "training": BRIEF,
    }  # fmt: skip
    with pytest.raises(RecordError, match="hold no grid"):
        train(parse(config), quiet=True)
    with pytest.raises((ConfigError, ObjectiveError), match="takes grid rows"):
        train(parse({**config, "out": str(tmp_path / "b"), "rows": {"pairs": "all"}}), quiet=True)
