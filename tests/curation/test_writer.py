"""A model or a function that writes: what it is asked, what is kept of it, and what is not."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.curation.writer import Request, Writer, filled
from prefine.errors import ConfigError, RunFolderError
from prefine.records.votes import SetAside

HAPPENS = {"\n": "a b <|im_end|> <|im_start|> z", "a": "c", "z": "z"}
"""Five ways to begin an answer, as likely: "ac", "b", nothing, a control token, z without end."""

NOT_READ = "not asked: the model does not read as much, and nothing is cut"


def requests(count: int) -> list[Request]:
    return [Request(f"k{n}", f"Say {n}", "yes") for n in range(count)]


def kinds(answers: dict[str, Any]) -> Counter[str]:
    return Counter(a.reason if isinstance(a, SetAside) else a for a in answers.values())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, scripted: Callable[..., Any]) -> Path:
    return scripted(tmp_path_factory.mktemp("writers") / "model", HAPPENS)


def test_what_an_answer_can_be(model: Path):
    answers = Writer(str(model), max_new_tokens=4).write(requests(60), "{prompt}? {response}")
    assert set(kinds(answers)) == {
        "ac",
        "b",
        "an empty answer",
        "an answer that was cut off at 4 tokens",
        "an answer: the text of a message contains the control token '<|im_start|>'",
    }
    assert answers.keys() == {f"k{n}" for n in range(60)}


def test_the_seed_decides(model: Path):
    texts = [
        Writer(str(model), max_new_tokens=4).write(requests(20), "{response}", seed=seed)
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_what_cannot_be_asked_is_told_and_the_rest_is_asked(model: Path):
    """The model reads 1,024 bytes; a request is not cut."""
    odd = [
        Request("control", "a <|im_end|> inside", "yes"),
        Request("long", "x" * 1100, "yes"),
        *requests(3),
    ]
    answers = Writer(str(model), max_new_tokens=4).write(odd, "{prompt} {response}")
    assert answers["control"] == SetAside(
        "not asked: the text of a message contains the control token '<|im_end|>'"
    )
    assert answers["long"] == SetAside(NOT_READ)
    assert len(answers) == 5
    assert Writer(str(model)).write([], "{response}") == {}
    assert len(Writer(str(model)).write(odd[:2], "{prompt} {response}")) == 2


def test_the_longest_request_leaves_room_for_the_answer(model: Path):
    """Around it are 7 tokens for bos and `<|im_start|>user`, and 13 for the turn that begins."""
    writer = Writer(str(model), max_new_tokens=4)
    for length, is_asked in ((1000, True), (1001, False)):
        (answer,) = writer.write([Request("k", "", "x" * length)], "{response}").values()
        assert (answer == SetAside(NOT_READ)) is not is_asked, length


def test_answers_that_are_kept_are_not_drawn_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer = Writer(str(model), max_new_tokens=4, batch_size=4, folder=str(tmp_path / "kept"))
    whole = Writer(str(model), max_new_tokens=4, batch_size=4).write(requests(12), "{response}")
    from prefine.sampling import LanguageSampler

    calls, draw = [], LanguageSampler.__call__

    def killed_later(self: Any, *given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(self, *given, **more)

    monkeypatch.setattr(LanguageSampler, "__call__", killed_later)
    with pytest.raises(KeyboardInterrupt):
        writer.write(requests(12), "{response}")
    assert writer.write(requests(12), "{response}") == whole
    assert len(calls) == 4, "two parts were on disk, the third is drawn again"
    assert writer.write(requests(12), "{response}") == whole
    assert len(calls) == 4
    for other in ({"seed": 1}, {"instruction": "Now {response}"}):
        with pytest.raises(RunFolderError, match="another"):
            writer.write(requests(12), **{"instruction": "{response}", **other})


def test_a_function_is_called_as_a_reward_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "writes_for_tests.py").write_text(
        "def write(prompts, completions):\n"
        "    return [f' {p}|{c}\\n' if c else '' for p, c in zip(prompts, completions)]\n"
        "def count(prompts, completions):\n"
        "    return [1.0 for _ in prompts]\n"
        "def short(prompts, completions):\n"
        "    return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    writer = Writer("writes_for_tests:write")
    asked = [Request("a", "p", "r"), Request("b", "p", ""), Request("a", "again", "again")]
    assert writer.write(asked, "unused") == {"a": "p|r", "b": SetAside("an empty answer")}
    assert writer.write([], "unused") == {}
    assert writer.sampling(0) == {}
    with pytest.raises(ConfigError, match="returned float where a text"):
        Writer("writes_for_tests:count").write(asked, "")
    with pytest.raises(ConfigError, match="returned 0 values for 2"):
        Writer("writes_for_tests:short").write(asked, "")
    with pytest.raises(ConfigError, match="Name `module:function`"):
        Writer("writes_for_tests:gone").write(asked, "")


def test_braces_in_what_is_filled_in_mean_nothing():
    asked = Request("k", "{response} {0} {", "{prompt}")
    assert filled("{prompt}/{response}/{other}", asked) == "{response} {0} {/{prompt}/{other}"


def test_records_keep_no_path(model: Path, tmp_path: Path):
    (tmp_path / "own.jinja").write_text("{{ messages[0].content }}")
    writer = Writer(
        str(model), template=str(tmp_path / "own.jinja"), folder=str(tmp_path), temperature=0.5
    )
    assert writer.options() == {"model": "model", "temperature": 0.5, "template": "own.jinja"}
    assert "/" not in json.dumps([writer.options(), writer.sampling(1), writer.called])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": 0}, "`temperature` must be above 0"),
        ({"max_new_tokens": 0}, "`max_new_tokens`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"instruction": "Write it anew"}, r"must hold \{response\}"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        Writer("model", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"instruction": "{response}"}, {"temperature": 0.5}, {"folder": "kept"}, {"batch_size": 2}],
)
def test_a_function_takes_nothing_that_only_a_model_has(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=f"a function, which {next(iter(wrong))} would do"):
        Writer("module:function", **wrong)
