"""Runs that train a picture model, from a configuration to a folder."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefine.errors import ConfigError, RecordError
from prefine.ledger.worlds import sprites
from prefine.models.picture_rows import PictureEncoder
from prefine.models.pictures import PictureModel, load_picture_model
from prefine.records import load
from prefine.training.config import parse
from prefine.training.dry_run import dry_run
from prefine.training.filling import item_keys
from prefine.training.run import train

pytest.importorskip("diffusers")


def png(sprite: sprites.Sprite) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sprite.pixels()).save(buffer, format="PNG")
    return buffer.getvalue()


def people_like_large(count: int, candidates: int = 2) -> list[dict[str, Any]]:
    """Records with pictures by path: the large one first in rank."""
    rng = np.random.default_rng(0)
    made = []
    for n in range(count):
        caption = sprites.CAPTIONS[n % 16]
        names = [f"c{k}" for k in range(candidates)]
        made.append(
            {
                "schema": "prefine/1",
                "context": [{"role": "user", "content": caption}],
                "candidates": [
                    {
                        "id": name,
                        "messages": [
                            {
                                "role": "assistant",
                                "content": [{"type": "image", "uri": f"{n}-{k}.png"}],
                            }
                        ],
                    }
                    for k, name in enumerate(names)
                ],
                "judgments": [
                    {
                        "id": "j0", "kind": "rank", "shown": names, "aspect": "overall",
                        "rater": {"id": "r", "type": "human"},
                        "ranks": {name: k + 1 for k, name in enumerate(names)},
                    }
                ],
                "_sprites": [
                    sprites.drawn(rng, caption, "large" if k == 0 else "small")
                    for k in range(candidates)
                ],
            }
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    PictureModel(sprites.untrained(0)).save(folder / "model")
    for name, candidates in (("pairs", 2), ("lists", 3)):
        (folder / name).mkdir()
        lines = []
        for n, record in enumerate(people_like_large(24, candidates)):
            for k, sprite in enumerate(record.pop("_sprites")):
                (folder / name / f"{n}-{k}.png").write_bytes(png(sprite))
            lines.append(json.dumps(record))
        (folder / name / "records.jsonl").write_text("\n".join(lines))
    return folder


def config(home: Path, out: Path, objective: str, **more: Any) -> Any:
    data = more.pop("data", "pairs")
    return parse(
        {
            "objective": objective, "model": str(home / "model"),
            "data": str(home / data / "records.jsonl"), "out": str(out), "holdout": 0.25,
            "denoising": {"show": 2, "eval_draws": 2, **more.pop("denoising", {})},
            "training": {"per_device_train_batch_size": 8, "max_steps": 2, "logging_steps": 1},
            **more,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("diffusion_dpo", {}),
        ("diffusion-dpo", {"lora": {"r": 4, "alpha": 8}}),
        ("ipo", {"options": {"tau": 0.001, "average": False}}),
        ("kto", {"options": {"beta": 1000.0}}),
        ("diffusion_kto", {}),
        ("mapo", {}),
        ("sft", {}),
        ("plackett_luce", {"data": "lists", "options": {"beta": 1000.0}}),
        ("rank_dpo", {"data": "lists"}),
        ("robust_em", {"options": {"loss": {"name": "dpo", "beta": 1000.0}}}),
        ("text_dpo", {}),
        ("text_kto", {}),
        ("dpo", {"options": {"beta": 1000.0}, "reference": "cached",
                 "denoising": {"fixed_draws": 2}}),
    ],
)  # fmt: skip
def test_every_kind_of_objective_trains_it(
    home: Path, tmp_path: Path, objective: str, more: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(home / "cache"))
    result = train(config(home, tmp_path / "run", objective, **more), quiet=True)
    assert result.summary["steps"] == 2
    assert result.summary["adapter"]["adapter"] == "diffusion"
    assert result.summary["unit"] == "-mse/2"
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["errors/mean"] > 0
    if "dpo" in objective and objective != "rank_dpo":
        assert first["loss"] == pytest.approx(np.log(2), rel=1e-3)
        assert first["errors/mean"] == pytest.approx(first["errors/reference"], rel=1e-5)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 4, "before and after"
    assert load_picture_model(str(tmp_path / "run" / "model")).family == "DiTPipeline"


def test_the_model_opens_where_there_is_no_prefine(home: Path, tmp_path: Path) -> None:
    train(config(home, tmp_path / "run", "diffusion_dpo"), quiet=True)
    code = (
        "import sys; sys.modules['prefine'] = None\n"
        "from diffusers import DiTTransformer2DModel\n"
        f"m = DiTTransformer2DModel.from_pretrained({str(tmp_path / 'run' / 'model')!r}, "
        "subfolder='transformer')\n"
        "print(float(sum(p.double().sum() for p in m.parameters())))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    ours = load_picture_model(str(tmp_path / "run" / "model")).denoiser
    total = float(sum(p.detach().double().sum() for p in ours.parameters()))
    assert float(done.stdout) == pytest.approx(total, rel=1e-12)


def test_a_run_resumes_with_the_same_draws(home: Path, tmp_path: Path) -> None:
    whole = config(home, tmp_path / "whole", "diffusion_dpo")
    whole.training |= {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    train(whole, quiet=True)
    losses = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    import shutil

    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "checkpoint-4")
    shutil.rmtree(tmp_path / "cut" / "model")
    again = whole.model_copy(update={"out": str(tmp_path / "cut")})
    train(again, resume=True, quiet=True)
    assert (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines() == losses


def test_rewards_are_brought_to_the_range_of_the_data(home: Path, tmp_path: Path) -> None:
    """Ranks are stored as minus the rank, so these pairs have rewards of -1 and -2."""
    summary = train(config(home, tmp_path / "run", "smpo"), quiet=True).summary
    assert "r = (utility - -2) / (-1 - -2)" in summary["formula"]
    given = {"options": {"low": -10.0, "high": 0.0}}
    summary = train(config(home, tmp_path / "given", "smpo", **given), quiet=True).summary
    assert "r = (utility - -10) / (0 - -10)" in summary["formula"]
    one = {"options": {"low": -10.0}}
    summary = train(config(home, tmp_path / "one", "smpo", **one), quiet=True).summary
    assert "r = (utility - -10) / (-1 - -10)" in summary["formula"], "the other end is found"


def test_length_says_nothing_of_pictures(home: Path, tmp_path: Path) -> None:
    metrics = train(config(home, tmp_path / "run", "diffusion_dpo"), quiet=True).summary["metrics"]
    assert "accuracy" in metrics
    assert not [name for name in metrics if "long" in name or "length" in name]


def test_a_reference_is_not_taken_from_pictures_of_another_size(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The denoiser, the captions and the files are the same; what it sees is not."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    model = load_picture_model(str(home / "model"))
    records = load(home / "pairs" / "records.jsonl")
    keys = set()
    for size in (16, 24):
        encoder = PictureEncoder(PictureModel(model.pipeline, size), (home / "pairs",))
        rows = encoder(records.pairs()).dataset
        assert rows[0]["sample"][0].shape == (3, size, size)
        keys |= set(item_keys({**rows[0], "seed": 0}))
    assert len(keys) == 4


def test_nothing_left_is_an_error(home: Path, tmp_path: Path) -> None:
    data = tmp_path / "records.jsonl"
    data.write_text((home / "pairs" / "records.jsonl").read_text(encoding="utf-8"))
    made = config(home, tmp_path / "run", "diffusion_dpo")
    with pytest.raises(RecordError, match=r"No row is left .*whose file is not there"):
        train(made.model_copy(update={"data": str(data)}), quiet=True)


def test_pictures_that_cannot_be_read_are_set_aside(home: Path, tmp_path: Path) -> None:
    lines = (home / "pairs" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    parts = [record["candidates"][0]["messages"][0]["content"][0] for record in records]
    parts[0]["uri"] = "absent.png"
    parts[1]["uri"] = "https://example.org/a.png"
    del parts[2]["uri"]
    parts[2]["data"] = base64.b64encode(b"no picture").decode()
    records[3]["candidates"][0]["messages"][0]["content"] = "words"
    parts[4]["data"] = base64.b64encode((home / "pairs" / "4-0.png").read_bytes()).decode()
    del parts[4]["uri"]
    data = home / "pairs" / "broken.jsonl"
    data.write_text("\n".join(map(json.dumps, records)))
    made = config(home, tmp_path / "run", "diffusion_dpo", holdout=0.0)
    result = train(made.model_copy(update={"data": str(data)}), quiet=True)
    assert result.summary["set_aside"] == {
        "a picture whose file is not there": 1,
        "a picture at an address: download it, and name it by a path": 1,
        "a picture that cannot be decoded": 1,
        "a response that is not one picture": 1,
    }
    assert result.summary["rows"]["train"] == 20


@pytest.mark.parametrize(
    ("objective", "more", "says"),
    [
        ("dpo", {}, "beta=0.1 is meant for nats"),
        ("ipo", {}, "tau=0.1 is meant for nats"),
        ("robust_em", {}, "beta=0.1 is meant for nats"),
        ("reward", {}, "a picture model has none"),
        ("diffusion_dpo", {"max_length": 64}, "max_length is for language models"),
        ("diffusion_dpo", {"denoising": {"density": "uniform"}}, "density is for flows"),
        ("diffusion_dpo", {"reference": "cached"}, "Set denoising.fixed_draws"),
        ("simpo", {"options": {"beta": 2.0}, "layout": "packed"}, "layout is for language"),
        ("tdpo2", {"options": {"beta": 2.0}}, "do not give"),
        ("plackett_luce", {"options": {"beta": 2.0}, "rows": {"captions": "swap"}},
         "makes pairs or points"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    home: Path, tmp_path: Path, objective: str, more: dict[str, Any], says: str
) -> None:
    from prefine.errors import ObjectiveError

    with pytest.raises((ConfigError, ObjectiveError, RecordError), match=says):
        train(config(home, tmp_path / "run", objective, **more), quiet=True)


@pytest.mark.parametrize("lora", [False, True])
def test_activations_may_be_computed_again(home: Path, tmp_path: Path, lora: bool) -> None:
    losses = []
    for again in (False, True):
        made = config(home, tmp_path / str(again), "diffusion_dpo", lora={} if lora else None)
        training = {**made.training, "activation_checkpointing": again}
        train(made.model_copy(update={"training": training}), quiet=True)
        rows = (tmp_path / str(again) / "metrics.jsonl").read_text().splitlines()
        losses.append([found for row in rows if (found := json.loads(row).get("loss"))])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_dry_run_says_what_it_takes(home: Path, tmp_path: Path) -> None:
    made = config(home, tmp_path / "run", "diffusion_dpo")
    found = dry_run(made)["estimate"]
    rows = dry_run(made)["rows"]["train"]
    assert found["samples"] == 2 * rows, "both pictures of each pair, once"
    assert found["flops_step"] > 0
    assert not (tmp_path / "run").exists()
    twice = dry_run(config(home, tmp_path / "run", "diffusion_dpo", denoising={"draws": 2}))
    assert twice["estimate"]["flops_epoch"] == pytest.approx(2 * found["flops_epoch"])
