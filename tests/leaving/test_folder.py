"""What other programs ask of a folder, by their documentation; each lack is found and named.

vLLM ("Integration with Hugging Face", "Supported models") and SGLang ("Server arguments") read
`config.json` for `model_type` and `architectures`, weights in safetensors, and the tokenizer beside
them; neither is installed here, so these are the requirements, not a run.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.errors import ConfigError
from prefine.models import export_model
from prefine.models.folder import ModelFolder, problems

Run = Callable[..., Path]
Break = Callable[[Path], object]


@pytest.fixture(scope="module")
def exported(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return `get(kind)`: an exported policy, reward model, or merged policy."""
    kinds: dict[str, tuple[str, dict[str, Any], bool]] = {
        "policy": ("dpo", {"template": "chatml"}, False),
        "reward": ("reward", {"template": "auto"}, False),
        "merged": ("dpo", {"lora": {"r": 2}}, True),
    }

    def get(kind: str) -> Path:
        objective, keys, merge = kinds[kind]
        out = tmp_path_factory.mktemp("exported") / kind
        export_model(str(finished(objective, **keys)), out, merge=merge)
        return out

    return get


@pytest.mark.parametrize("kind", ["policy", "reward", "merged"])
def test_an_exported_folder_holds_all_of_it(exported: Callable[[str], Path], kind: str) -> None:
    folder = exported(kind)
    assert problems(folder) == []
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ending = "ForSequenceClassification" if kind == "reward" else "ForCausalLM"
    assert config["architectures"] == [f"Llama{ending}"]
    assert config["model_type"] == "llama"
    assert config["dtype"] == "float32"
    if kind == "reward":
        # vLLM's classification head: softmax unless the problem is a regression
        assert config["problem_type"] == "regression"
        assert len(config["id2label"]) == 1
    assert (folder / "tokenizer.json").is_file()
    assert (folder / "chat_template.jinja").is_file()


def change(name: str, **keys: Any) -> Break:
    def edit(folder: Path) -> None:
        held = json.loads((folder / name).read_text(encoding="utf-8"))
        held = {k: v for k, v in {**held, **keys}.items() if v is not None}
        (folder / name).write_text(json.dumps(held), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (change("config.json", architectures=None), "names no architectures"),
        (change("config.json", model_type=None), "no model_type"),
        (change("config.json", auto_map={"AutoModel": "x.Y"}), "code of its own"),
        (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda f: (f / "tokenizer_config.json").unlink(), "no tokenizer_config.json"),
        (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
        (lambda f: (f / "pytorch_model.bin").touch(), "may run code"),
        (lambda f: (f / "modeling_x.py").touch(), "may run code"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', encoding="utf-8"
            ),
            "parts that are absent: model-00001",
        ),
    ],
)
def test_each_lack_is_named(
    exported: Callable[[str], Path], tmp_path: Path, harm: Break, said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported("policy"), folder)
    harm(folder)
    (problem,) = problems(folder)
    assert said in problem


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.json"):
        ModelFolder.read(str(tmp_path))
