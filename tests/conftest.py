"""What every test may rely on: no network, one thread, fixed seeds, tiny models, honest skips."""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPS = Path(__file__).with_name("skips.txt")
OWNS_HOME = "PREFINE_TEST_HOME" not in os.environ

# Read by Hugging Face libraries and by OpenMP when they are first imported, so it must be set here.
# Parallel workers inherit the folder from the process that started them.
if OWNS_HOME:
    os.environ["PREFINE_TEST_HOME"] = tempfile.mkdtemp(prefix="prefine-tests-")
HOME = Path(os.environ["PREFINE_TEST_HOME"])
os.environ.update(
    HF_HOME=str(HOME / "hf"),
    HF_HUB_OFFLINE="1",
    PREFINE_CACHE=str(HOME / "cache"),
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

CHAT_TEMPLATE = """{{ bos_token }}
{%- if tools %}<|im_start|>tools
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}{% endfor %}
{{- '<|im_end|>' }}
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Start every test from the same random state."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of reports empty: drawing takes longer than a run of two steps."""
    monkeypatch.setattr("prefine.report.figures.draw", lambda *_, **__: '<svg style=""></svg>')


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the path of a real data set beside the repository; skip where it is absent."""

    def find(name: str) -> Path:
        path = ROOT.parent / "shared" / "data" / name
        if not path.exists():
            pytest.skip(f"real data not beside this repository: shared/data/{name}")
        return path

    return find


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """Return a byte-level tokenizer: pad 0, bos 1, eos `<|im_end|>` 3, ChatML-like template.

    Encoding plain text adds a BOS, and so does the template: a pipeline that does both has two.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: position for position, token in enumerate(special + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="<|bos|> $A", special_tokens=[("<|bos|>", vocabulary["<|bos|>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
    )


@pytest.fixture(scope="session")
def tiny_llama() -> Callable[..., Any]:
    """Return `make(vocab=260, seed=0, **config)`: a fresh two-layer Llama with random weights."""

    def make(vocab: int = 260, seed: int = 0, **config: Any) -> Any:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        small = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 1024,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 3,
        }
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(LlamaConfig(vocab_size=vocab, **{**small, **config}))

    return make


@pytest.fixture(scope="session")
def scripted(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> Callable[..., Any]:
    """Return `make(folder, {"a": "bc", ...})`: a saved Llama that knows only what follows a token.

    After `a` comes `b` or `c`, as likely; after a token that is not named, EOS. A name is one
    byte or a special token, and several of one length are separated by white space.
    """

    def make(folder: Any, follows: dict[str, str]) -> Any:
        import torch

        ids = tiny_tokenizer.get_vocab()
        model = tiny_llama(tie_word_embeddings=False)
        with torch.no_grad():
            for layer in model.model.layers:  # what stays is the embedding of the last token
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.model.embed_tokens.weight.zero_()[:, 0] = 1
            model.lm_head.weight.zero_()[ids["<|im_end|>"], 0] = 10
            for place, (before, after) in enumerate(follows.items(), 1):
                at = ids["\u010a" if before == "\n" else before]
                model.model.embed_tokens.weight[at, 0] = 0
                model.model.embed_tokens.weight[at, place] = 1
                for token in after.split() if " " in after else after:
                    model.lm_head.weight[ids[token], place] = 10
        model.save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return make


# --- Every skip is printed; a skip whose reason is not in skips.txt fails the run. ---------------


class SkipGuard:
    """Collects skips in the process that reports, and fails the run on an unlisted one."""

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = allowed
        self.seen: list[tuple[str, str]] = []

    def is_allowed(self, reason: str) -> bool:
        return any(reason.startswith(start) for start in self.allowed)

    @property
    def unlisted(self) -> list[tuple[str, str]]:
        return [(where, reason) for where, reason in self.seen if not self.is_allowed(reason)]

    def _note(self, report: Any) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.seen.append((report.nodeid, str(reason).removeprefix("Skipped: ")))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._note(report)

    def pytest_collectreport(self, report: Any) -> None:
        self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for where, reason in self.seen:
            mark = "skipped" if self.is_allowed(reason) else "SKIPPED, NOT LISTED"
            terminalreporter.write_line(f"{mark}: {where}: {reason}")
        if self.unlisted:
            terminalreporter.write_line(
                f"{len(self.unlisted)} skips are not listed in tests/{SKIPS.name}, so this run "
                "fails: a test that silently stops running proves nothing. Mend the cause, or "
                "add the start of the reason to the list.",
                red=True,
            )


def read_skips(path: Path) -> list[str]:
    """Return the allowed reasons: one start of a reason a line, `#` for comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipGuard(read_skips(SKIPS)), "prefine-skip-guard")


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWNS_HOME and not hasattr(config, "workerinput"):
        shutil.rmtree(HOME, ignore_errors=True)
