"""Every page and card that prefine writes, of runs in which all foreign text is planted."""

import json
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.report.planted import ATTACKS, IN_A_NAME, PAYLOAD, Planter, full_record

from prefine.audit import compare, comparison_report
from prefine.ledger import demo_report
from prefine.ledger.worlds import sprites
from prefine.models.pictures import PictureModel
from prefine.objectives.declare import objective
from prefine.records import Record
from prefine.report import render
from prefine.scores import Needs, Scores
from prefine.training.config import parse
from prefine.training.run import train

RECORDS = 3
SHORT = " ".join(ATTACKS[:3])
"""For fields that are many, so that rows stay short; prompts and responses hold every attack."""

OBJECTIVE = "planted_losses:loss"


def write_everything(
    folder: Path, language_model: Callable[..., Any], tokenizer: Any
) -> dict[str, Path]:
    """Train on planted data and models; return the pages (`.html`) and cards (`.md`) by name."""
    _declare_a_loss()
    folder = folder / IN_A_NAME
    data, model = _text_data(folder), _text_model(folder, language_model, tokenizer)
    runs = {
        "text": _run(folder, "text", OBJECTIVE, model, data),
        "text again": _run(folder, "text again", OBJECTIVE, model, data, learning_rate=1e-2),
        "reward": _run(folder, "reward", "reward", model, data),
        "list": _run(folder, "list", "plackett_luce", model, data),
        "pictures": _run(
            folder, "pictures", "diffusion_dpo", _picture_model(folder), _picture_data(folder),
            denoising={"show": 2, "eval_draws": 1},
        ),
    }  # fmt: skip
    pages = {name: run / "report.html" for name, run in runs.items()}
    pages["comparison"] = folder / "comparison.html"
    found = compare([runs["text"], runs["text again"]])
    pages["comparison"].write_text(render(comparison_report(found)), encoding="utf-8")
    pages["demo"] = folder / "demo.html"
    _write_demo(pages["demo"])
    return pages | {f"card of {name}": run / "model" / "README.md" for name, run in runs.items()}


def _declare_a_loss() -> None:
    """An objective of one's own, whose formula is text like any other."""
    formula = PAYLOAD.replace("{", "{{").replace("}", "}}")

    @objective("pair", needs=Needs(reference=True), formula=formula)
    def loss(scores: Scores, *, beta: float = 0.1) -> Any:
        ratio = scores.log_ratio
        return (1 - beta * (ratio[:, 0] - ratio[:, 1])).square()

    module = types.ModuleType("planted_losses")
    module.loss = loss  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def _text_data(folder: Path) -> Path:
    planter, lines = Planter(SHORT, set()), []
    for number in range(RECORDS):
        record = planter.record(full_record(number))
        record["context"][1]["content"] = PAYLOAD
        record["candidates"][0]["messages"][0]["content"] = f"{number} {PAYLOAD}"
        lines.append(json.dumps(Record.from_json(record).to_json()))
    path = folder / f"{IN_A_NAME}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _text_model(folder: Path, language_model: Callable[..., Any], tokenizer: Any) -> Path:
    import copy

    path = folder / f"model {IN_A_NAME}"
    tokenizer = copy.deepcopy(tokenizer)
    said = json.dumps(PAYLOAD)
    tokenizer.chat_template = "{{ " + said + " }}" + tokenizer.chat_template
    made = language_model(max_position_embeddings=8192)
    made.config.a_note = PAYLOAD
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _picture_model(folder: Path) -> Path:
    """A pipeline whose captions are planted."""
    pipeline = sprites.untrained(0)
    labels = {number: _caption(number) for number in range(len(sprites.CAPTIONS))}
    pipeline.register_to_config(id2label=labels)
    pipeline.labels = {label: number for number, label in labels.items()}
    PictureModel(pipeline).save(folder / f"painter {IN_A_NAME}")
    return folder / f"painter {IN_A_NAME}"


def _caption(number: int) -> str:
    return f"{sprites.CAPTIONS[number]} {PAYLOAD}".strip()  # as DiT strips the names of classes


def _picture_data(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    (folder / "pictures").mkdir()
    rng, lines = np.random.default_rng(0), []
    planter = Planter(SHORT, set())
    for number in range(RECORDS):
        record = full_record(number) | {"tools": None}
        record["context"] = [{"role": "user", "content": "a caption"}]
        for candidate, size in zip(record["candidates"], ("large", "small"), strict=True):
            sprite = sprites.drawn(rng, sprites.CAPTIONS[number], size)
            file = f"{number}-{size} {IN_A_NAME}.png"
            Image.fromarray(sprite.pixels()).save(folder / "pictures" / file)
            candidate["messages"][0]["content"] = file
        record = planter.record(record)
        record["context"] = [{"role": "user", "content": _caption(number)}]
        for candidate in record["candidates"]:
            file = candidate["messages"][0]["content"].removesuffix(f" {SHORT}")
            image = {"type": "image", "uri": file, "text": PAYLOAD, "title": PAYLOAD}
            candidate["messages"][0]["content"] = [image]
        lines.append(json.dumps({key: value for key, value in record.items() if value is not None}))
    path = folder / "pictures" / f"{IN_A_NAME}.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _run(
    folder: Path,
    name: str,
    objective: str,
    model: Path,
    data: Path,
    *,
    learning_rate: float = 1e-3,
    **more: Any,
) -> Path:
    training = {
        "use_cpu": True, "learning_rate": learning_rate, "max_steps": 2, "logging_steps": 1,
        "per_device_train_batch_size": 2, "save_strategy": "no",
    }  # fmt: skip
    config = {
        "objective": objective, "model": str(model), "data": str(data), "eval_data": str(data),
        "out": str(folder / f"{name} {IN_A_NAME}"), "training": training,
        "rows": {"aspect": f"overall {SHORT}"}, **more,
    }  # fmt: skip
    if "denoising" not in more:
        config["max_length"] = 8192
    return train(parse(config), quiet=True).folder


def _write_demo(path: Path) -> None:
    """The demo's page with planted examples and settings, its numbers those that are stored."""
    stored = Path(__file__).resolve().parents[2] / "docs" / "results" / "demo.json"
    answers: Mapping[str, Any] = {PAYLOAD: {"text": PAYLOAD, "gold": 1.0, "valid": True}}
    demo_report.write_report(
        path,
        json.loads(stored.read_text(encoding="utf-8")),
        {PAYLOAD: PAYLOAD},
        [{"prompt": PAYLOAD, "answers": answers}],
    )
