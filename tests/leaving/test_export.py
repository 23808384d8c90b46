"""Programs that know nothing of prefine load an exported folder, and it says the same there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from prefine.adapters import CausalLM
from prefine.cli.main import app
from prefine.errors import ConfigError, RunFolderError
from prefine.models import RewardModel, export_model, load_policy, load_tokenizer
from prefine.models.reward import RewardCard
from prefine.records import load

Run = Callable[..., Path]
Alone = Callable[..., Any]

IDS = [[1, 5, 9, 70, 3]]

LOGITS = """
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
chat = [{"role": "user", "content": "say 1"}]
with torch.no_grad():
    logits = model(input_ids=torch.tensor(json.loads(sys.argv[2]))).logits
print(json.dumps({
    "logits": logits.tolist(), "kind": type(model).__name__, "use_cache": model.config.use_cache,
    "text": tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True),
}))
"""

SCORES = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
if len(sys.argv) > 3:
    from peft import PeftModel
    base = AutoModelForSequenceClassification.from_pretrained(sys.argv[3], num_labels=1)
    model = PeftModel.from_pretrained(base, sys.argv[1])
else:
    model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
model = model.float().eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model.config.pad_token_id = tokenizer.pad_token_id
rows = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
texts = [
    tokenizer.apply_chat_template(row["prompt"] + row[name], tokenize=False)
    for row in rows for name in ("chosen", "rejected")
]
batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
with torch.no_grad():
    scores = model(**batch).logits[:, 0].tolist()
one = None
if len(sys.argv) == 3:
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    one = classify(texts[0], add_special_tokens=False)[0]["score"]
print(json.dumps({"scores": scores, "pipeline": one, "last": texts[0][-20:]}))
"""


def logits(folder: Path | str) -> torch.Tensor:
    with torch.no_grad():
        return load_policy(str(folder)).eval()(input_ids=torch.tensor(IDS)).logits


def our_scores(folder: Path | str, start: Path) -> list[float]:
    model = RewardModel.load(str(folder))
    return model(load(start / "pairs.jsonl")).value.flatten().tolist()


def in_folder(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_a_policy_is_loaded_by_transformers(
    finished: Run, start: Path, alone: Alone, tmp_path: Path, objective: str
) -> None:
    """As the run left it, and exported: the same logits; exported, the tokens of training."""
    run = finished(objective, template="chatml")
    written = export_model(str(run), tmp_path / "out")
    assert written.kind == "policy"
    assert written.notes == ("the chat template writes the BOS that the model was trained with",)
    for folder in (run / "model", tmp_path / "out"):
        found = alone(LOGITS, folder, json.dumps(IDS))
        torch.testing.assert_close(torch.tensor(found["logits"]), logits(folder))
        assert found["kind"] == "LlamaForCausalLM"
    assert found["text"] == "<|bos|><|im_start|>user\nsay 1<|im_end|>\n<|im_start|>assistant\n"
    assert found["use_cache"] is True
    tokenizer = load_tokenizer(str(run / "model"))
    row = CausalLM(tokenizer).prepare(load(start / "pairs.jsonl").pairs()).dataset[1]
    theirs = load_tokenizer(str(tmp_path / "out"))(found["text"], add_special_tokens=False)
    assert theirs["input_ids"] == list(row["prompt"][0])
    assert {"README.md", "config.json", "model.safetensors"} <= in_folder(tmp_path / "out")


@pytest.mark.parametrize("template", ["auto", "dialogue"])
def test_a_reward_model_says_the_same_elsewhere(
    finished: Run, start: Path, alone: Alone, tmp_path: Path, template: str
) -> None:
    """Though its template may write a line break after the token where the reward is read."""
    run = finished("reward", template=template)
    written = export_model(str(run), tmp_path / "out")
    ours = our_scores(run / "model", start)
    assert len({round(score, 4) for score in ours}) > 10
    found = alone(SCORES, tmp_path / "out", start / "pairs.jsonl")
    assert found["scores"] == pytest.approx(ours, abs=1e-5)
    assert found["pipeline"] == pytest.approx(ours[0], abs=1e-5), "it must not be squashed"
    assert found["last"].endswith("<|im_end|>")
    assert our_scores(tmp_path / "out", start) == pytest.approx(ours, abs=1e-6)
    does = {"auto": "ends where the reward is read", "dialogue": "writes the BOS"}[template]
    (note,) = written.notes
    assert does in note
    card = RewardCard.load(tmp_path / "out")
    assert card is not None
    assert card.template.endswith(", as exported")


def test_what_the_run_left_differs_where_its_template_goes_on(
    finished: Run, start: Path, alone: Alone
) -> None:
    """Why the export changes the template: the last token would be another one."""
    run = finished("reward", template="auto")
    found = alone(SCORES, run / "model", start / "pairs.jsonl")
    assert found["last"].endswith("<|im_end|>\n")
    ours = our_scores(run / "model", start)
    assert found["scores"] != pytest.approx(ours, abs=1e-3)


def test_adapters_are_loaded_by_peft(
    finished: Run, start: Path, alone: Alone, tmp_path: Path
) -> None:
    code = LOGITS.replace("AutoModelForCausalLM.from", "AutoPeftModelForCausalLM.from").replace(
        "from transformers", "from peft import AutoPeftModelForCausalLM\nfrom transformers"
    )
    run = finished("dpo", lora={"r": 2})
    written = export_model(str(run / "model"), tmp_path / "out")
    assert written.kind == "adapters of a policy"
    assert "nobody else can load them" in written.notes[0]
    found = alone(code, tmp_path / "out", json.dumps(IDS))
    ours = logits(run / "model")
    torch.testing.assert_close(torch.tensor(found["logits"]), ours, rtol=0, atol=1e-5)
    assert (ours - logits(start / "model")).abs().max() > 1e-3, "the adapters change something"


def test_adapters_of_a_reward_model_are_loaded_by_peft(
    finished: Run, start: Path, alone: Alone, tmp_path: Path
) -> None:
    run = finished("reward", lora={"r": 2})
    export_model(str(run), tmp_path / "out")
    found = alone(SCORES, tmp_path / "out", start / "pairs.jsonl", start / "model")
    assert found["scores"] == pytest.approx(our_scores(run / "model", start), abs=1e-5)


@pytest.mark.parametrize("objective", ["dpo", "reward"])
def test_merged_adapters_need_neither_peft_nor_their_base(
    finished: Run, start: Path, alone: Alone, tmp_path: Path, objective: str
) -> None:
    run = finished(objective, lora={"r": 2})
    written = export_model(str(run), tmp_path / "out", merge=True)
    files = in_folder(tmp_path / "out")
    assert "model.safetensors" in files
    assert not {name for name in files if name.startswith("adapter")}
    if objective == "dpo":
        assert written.kind == "policy"
        found = alone(LOGITS, tmp_path / "out", json.dumps(IDS), without=("peft",))
        ours = logits(run / "model")
        torch.testing.assert_close(torch.tensor(found["logits"]), ours, rtol=0, atol=1e-5)
        return
    assert written.kind == "reward model"
    assert {"README.md", "preference.json"} <= files
    found = alone(SCORES, tmp_path / "out", start / "pairs.jsonl", without=("peft",))
    assert found["scores"] == pytest.approx(our_scores(run / "model", start), abs=1e-5)


def test_merging_keeps_the_precision_of_the_base(
    finished: Run, start: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished("dpo", lora={"r": 2}), run)
    half = tmp_path / "half"
    load_policy(str(start / "model")).to(torch.bfloat16).save_pretrained(half)
    config = json.loads((run / "model" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(half)
    (run / "model" / "adapter_config.json").write_text(json.dumps(config))
    export_model(str(run), tmp_path / "out", merge=True)
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(key).dtype for key in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


def test_no_file_names_a_folder_of_this_machine(finished: Run, start: Path, tmp_path: Path) -> None:
    for number, (name, keys) in enumerate(
        [("dpo", {}), ("reward", {}), ("dpo", {"lora": {"r": 2}})]
    ):
        out = tmp_path / str(number)
        export_model(str(finished(name, **keys)), out, merge=bool(keys))
        for path in out.iterdir():
            if path.suffix != ".safetensors":
                text = path.read_text(encoding="utf-8")
                assert str(start.parent) not in text, path.name


def test_what_cannot_be_exported_is_refused(finished: Run, start: Path, tmp_path: Path) -> None:
    run = finished("dpo", template="chatml")
    with pytest.raises(ConfigError, match="nothing to merge"):
        export_model(str(run), tmp_path / "a", merge=True)
    with pytest.raises(ConfigError, match="no such folder"):
        export_model("no/such", tmp_path / "a")
    with pytest.raises(ConfigError, match="this is no model"):
        export_model(str(tmp_path), tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        export_model(str(run), tmp_path / "full")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copyfile(run / "run.yaml", unfinished / "run.yaml")
    with pytest.raises(RunFolderError, match="has not ended"):
        export_model(str(unfinished), tmp_path / "a")
    torn = tmp_path / "torn"
    shutil.copytree(run / "model", torn)
    (torn / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match="there is no tokenizer"):
        export_model(str(torn), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_command_says_what_it_wrote(finished: Run, tmp_path: Path) -> None:
    run = finished("reward", template="auto")
    done = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "a"), "--json"])
    found = json.loads(done.stdout)
    assert (found["kind"], done.exit_code) == ("reward model", 0)
    assert set(found["files"]) == in_folder(tmp_path / "a")
    shown = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "b")]).stdout
    assert "reward model" in shown
    assert "note  the chat template ends where" in shown


def test_pickles_and_programs_stay_behind(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(finished("dpo", template="chatml") / "model", folder)
    for name in ("training_args.bin", "modeling.py", "optimizer.pt"):
        (folder / name).write_text("x", encoding="utf-8")
    export_model(str(folder), tmp_path / "out")
    assert not {"training_args.bin", "modeling.py", "optimizer.pt"} & in_folder(tmp_path / "out")


def test_the_template_of_a_reward_model_goes_on_to_train(finished: Run, tmp_path: Path) -> None:
    """Several turns, and prompts that are left open, are rendered as before."""
    run = finished("reward", template="auto")
    export_model(str(run), tmp_path / "out")
    before, after = load_tokenizer(str(run / "model")), load_tokenizer(str(tmp_path / "out"))
    chat = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    for opened in (False, True):
        texts = [
            t.apply_chat_template(chat, tokenize=False, add_generation_prompt=opened)
            for t in (before, after)
        ]
        assert texts[0] == texts[1]
