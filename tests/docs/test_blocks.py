"""Every code block of the pages is run by a test, or says by its language that it is only shown."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.blocks import DOCS, ROOT, RUN, SHOWN, Reader, blocks, to_run
from tests.start import write_start
from tests.training.test_pictures import people_like_large, png

from prefine.ledger.worlds import sprites
from prefine.models.pictures import PictureModel
from prefine.training.config import parse
from prefine.training.run import train

pytest.importorskip("diffusers")

TUTORIALS = ("first-run", "rankings", "noisy-votes", "pictures")
"""Run in `test_tutorial.py`, each in an empty folder."""

HOW_TO: dict[str, tuple[str, ...]] = {
    "how-to/align-pictures.md": ("pictures",),
    "how-to/choose-objective.md": (),
    "how-to/choose-rows.md": (),
    "how-to/coming-from-trl.md": (),
    "how-to/curate.md": (),
    "how-to/fit-memory.md": (),
    "how-to/iterate.md": (),
    "how-to/keep-learning.md": (),
    "how-to/leave-the-house.md": ("dpo", "lora", "reward"),
    "how-to/many-devices.md": (),
    "how-to/own-format.md": (),
    "how-to/own-objective.md": (),
    "how-to/read-a-run.md": (
        "dpo",
        "ipo",
        *(f"{n}-s{k}" for n in ("dpo", "ipo") for k in range(3)),
    ),
    "how-to/real-data.md": (),
    "how-to/resume.md": (),
    "how-to/sample-and-search.md": (),
    "how-to/translate-while-reading.md": (),
    "../README.md": (),
}
"""Page -> what a reader has done before: runs in `out`, or `pictures` for a model that draws."""

WRITTEN = {
    "how-to/coming-from-trl.md": ("out/trl/model",),
    "how-to/curate.md": (
        *("goals.jsonl", "shots.jsonl", "edits.jsonl", "miles.jsonl"),
        "out/salt/model",
    ),
    "how-to/iterate.md": ("out/principles/3-train-1/done.json", "out/by-hand/model"),
    "how-to/keep-learning.md": ("out/simpo/model", "exported/both/adapter_model.safetensors"),
    "how-to/leave-the-house.md": ("exported/policy", "exported/merged", "exported/reward"),
    "how-to/own-format.md": ("pairs.jsonl", "ranked.jsonl"),
    "how-to/own-objective.md": ("out/capped/report.html",),
    "how-to/read-a-run.md": ("out/compare.html",),
    "how-to/resume.md": ("out/again/model",),
    "how-to/sample-and-search.md": ("out/cool/records.jsonl", "out/found/records.jsonl"),
    "how-to/translate-while-reading.md": ("streams.jsonl", "out/words/model", "out/simul/model"),
}
"""Page -> what must have come of its blocks."""

APART = {"how-to/own-objective.md"}
"""Pages whose commands run in processes of their own, as on a terminal."""


def pages() -> list[Path]:
    return [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]


def test_every_block_is_run_or_shown():
    strange = {
        f"{page.relative_to(ROOT)}: {language or 'no language'}"
        for page in pages()
        for language, _ in blocks(page)
        if "generated" not in page.parts and language not in (*RUN, *SHOWN)
    }
    assert strange == set()


def test_no_page_with_blocks_is_forgotten():
    run = {f"tutorials/{name}.md" for name in TUTORIALS} | set(HOW_TO)
    holding = {page for page in pages() if to_run(page) and "generated" not in page.parts}
    assert holding == {(DOCS / name).resolve() for name in run}


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    folder = tmp_path_factory.mktemp("start")
    return write_start(folder, tiny_llama(initializer_range=0.1), tiny_tokenizer)


@pytest.fixture(scope="module")
def run_folder(model: Path) -> Callable[[str], Path]:
    """Return a function that makes a finished run, once: `dpo-s1` is a `dpo` of another seed."""

    def made(name: str) -> Path:
        folder = model / name
        if folder.exists():
            return folder
        objective, _, seed = name.partition("-s")
        if seed:
            shutil.copytree(made(objective), folder)
            settings = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
            (folder / "run.yaml").write_text(yaml.safe_dump(settings | {"seed": int(seed)}))
            return folder
        config = {
            "objective": "dpo" if objective == "lora" else objective, "out": str(folder),
            "model": str(model / "model"), "data": str(model / "pairs.jsonl"),
            "eval_data": str(model / "pairs.jsonl"), "training": {"use_cpu": True, "max_steps": 2},
            **({"lora": {}} if objective == "lora" else {}),
        }  # fmt: skip
        return train(parse(config), quiet=True).folder

    return made


def prepare(folder: Path, model: Path) -> None:
    """Lay out what pages call MODEL, DATA and by names of the Hub: tiny ones of the same kind."""
    for name in ("MODEL", "Qwen/Qwen3-0.6B"):
        shutil.copytree(model / "model", folder / name)
    (folder / "DATA").mkdir()
    shutil.copy(model / "pairs.jsonl", folder / "DATA")
    for name in ("my_data", "helpful", "harmless", "memory"):
        shutil.copy(model / "pairs.jsonl", folder / f"{name}.jsonl")
    hub = folder / "Anthropic" / "hh-rlhf"
    hub.mkdir(parents=True)
    said = "\n\nHuman: say {n}\n\nAssistant: {word}"
    write(
        hub / "train.jsonl",
        [
            {name: said.format(n=n, word=word * (n % 3 + 1))
             for name, word in (("chosen", " yes"), ("rejected", " no"))}
            for n in range(24)
        ],
    )  # fmt: skip
    asked = [{"question": f"say {n}", "good": "yes", "bad": "no"} for n in range(4)]
    write(folder / "questions.jsonl", asked)
    (folder / "trl.yaml").write_text(
        "model_name_or_path: MODEL\ndataset_name: DATA\noutput_dir: out/trl\nmax_steps: 2\n"
        "beta: 0.2\nbf16: false\n"
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def prepare_pictures(folder: Path) -> None:
    """A model of 48 captions: of the 16 of the sprites too few would be held out."""
    pipeline = sprites.untrained(0)
    captions = [f"{c}{more}" for more in ("", " again", " once more") for c in sprites.CAPTIONS]
    pipeline.register_to_config(id2label=dict(enumerate(captions)))
    pipeline.labels = {caption: number for number, caption in enumerate(captions)}
    PictureModel(pipeline).save(folder / "MODEL")
    (folder / "DATA").mkdir()
    records = people_like_large(len(captions))
    for n, record in enumerate(records):
        record["context"][0]["content"] = captions[n]
        for k, sprite in enumerate(record.pop("_sprites")):
            (folder / "DATA" / f"{n}-{k}.png").write_bytes(png(sprite))
    write(folder / "DATA" / "records.jsonl", records)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("page", HOW_TO)
def test_the_blocks_of_a_page_run(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    run_folder: Callable[[str], Path],
):
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    if "pictures" in HOW_TO[page]:
        prepare_pictures(tmp_path)
    else:
        prepare(tmp_path, model)
        for name in HOW_TO[page]:
            shutil.copytree(run_folder(name), tmp_path / "out" / name)
    Reader(tmp_path, monkeypatch, apart=page in APART).read((DOCS / page).resolve())
    for name in WRITTEN.get(page, ()):
        assert (tmp_path / name).exists(), name


def test_the_python_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]):
    for language, text in to_run(ROOT / "README.md"):
        if language == "python":
            exec(compile(text, "README.md", "exec"), {})
    assert capsys.readouterr().out == "1 {}\ntensor([0.3133])\n"
