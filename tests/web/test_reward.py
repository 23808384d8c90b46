"""The endpoint: OpenRLHF's protocol, what it refuses, and the numbers that prefine says."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.web.conftest import BEARER, TOKEN, Endpoint

from prefine.models import RewardModel
from prefine.records import Candidate, Message, Record, Records
from prefine.web import Queries, QueryError, Scored
from prefine.web.queries import Query

Make = Callable[..., Endpoint]


def lengths(queries: Sequence[Query]) -> list[Scored | QueryError]:
    """Scores a text by its length; refuses those with a question mark."""
    return [
        QueryError("a question") if "?" in query else Scored(float(len(query)), bool(prompt))
        for query, prompt in queries
    ]


# --- The protocol --------------------------------------------------------------------------------


def test_a_request_as_openrlhf_sends_it(endpoint: Make) -> None:
    """One query, its prompt and its label; the keys and shapes are those of its own server."""
    asked = {"query": ["prompt and response"], "prompts": ["prompt"], "labels": ["42"]}
    status, found, _ = endpoint(lengths).post(asked)
    assert status == 200
    assert found == {"rewards": [19.0], "scores": [19.0], "extra_logs": {"prompt_cut": [1]}}
    # what its client does with them (samples_generator.py)
    reward = torch.tensor([found["rewards"]])
    assert reward.numel() == 1
    assert all(torch.tensor([value]).numel() == 1 for value in found["extra_logs"].values())


def test_rewards_come_in_the_order_of_the_queries(endpoint: Make) -> None:
    texts = ["x" * (n % 7 + 1) for n in range(50)]
    status, found, _ = endpoint(lengths, batch=8).post({"query": texts})
    assert (status, found["rewards"]) == (200, [float(len(text)) for text in texts])
    assert endpoint(lengths).post({"query": []})[1]["rewards"] == []
    assert endpoint(lengths).post({"query": ["a"], "prompts": None, "labels": [None]})[0] == 200


def test_requests_at_once_share_batches(endpoint: Make) -> None:
    sizes: list[int] = []

    def score(queries: Sequence[Query]) -> list[Scored | QueryError]:
        sizes.append(len(queries))
        time.sleep(0.05)
        return lengths(queries)

    bodies = [json.dumps({"query": ["x" * n]}).encode() for n in range(1, 21)]
    answers = endpoint(score, batch=16).ask(*({"body": body} for body in bodies))
    assert [found["rewards"] for _, found, _ in answers] == [[float(n)] for n in range(1, 21)]
    assert sum(sizes) == 20
    assert len(sizes) <= 4


def test_health_needs_no_token_and_tells_nothing(endpoint: Make) -> None:
    ask = endpoint(lengths).ask
    ((status, found, _),) = ask({"path": "/health", "method": "GET", "headers": {}})
    assert (status, found) == (200, {"status": "ok"})


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong-token-of-length"}])
def test_without_the_token_nothing_is_read(endpoint: Make, headers: dict[str, str]) -> None:
    status, found, told = endpoint(lengths).post(b"{", headers)
    assert status == 401
    assert told["www-authenticate"] == "Bearer"
    assert TOKEN not in json.dumps(found)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 4000, 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        ([1], 400, "must be an object"),
        ({}, 422, "`query` must be a list"),
        ({"query": "text"}, 422, "`query` must be a list"),
        ({"query": [1]}, 422, "query 0 must be a text"),
        ({"query": [[]]}, 422, "query 0 must be a text"),
        ({"query": ["a"], "images": ["b"]}, 422, "unknown key 'images'"),
        ({"query": ["a", "b"], "prompts": ["a"]}, 422, "`prompts` must be a list as long"),
        ({"query": ["a"], "prompts": "a"}, 422, "`prompts` must be a list as long"),
        ({"query": ["a"], "prompts": [1]}, 422, "prompt 0 must be a text"),
        ({"query": ["a"], "labels": ["b", "c"]}, 422, "`labels` must be a list as long"),
        ({"query": [[{"role": "user"}]]}, 422, "a message must hold"),
        ({"query": [[{"role": "user", "content": "a"}]]}, 422, "the last message"),
        ({"query": [[{"role": "assistant", "content": 1}]]}, 422, "a message must hold"),
        ({"query": ["why?"]}, 422, "a query cannot be scored: a question"),
        ({"query": ["a"] * 11}, 413, "a request may hold 10 queries"),
        ({"query": ["x" * 6000]}, 413, "a request may hold 5,000 bytes"),
    ],
)
def test_what_is_refused_is_said(endpoint: Make, content: Any, status: int, said: str) -> None:
    found = endpoint(lengths, queries=10, body=5000).post(content)
    assert found[0] == status
    assert said in found[1]["error"]


def test_a_body_without_end_is_not_kept(endpoint: Make) -> None:
    """It stops being read at the limit, whatever length a header claims."""
    made = endpoint(lengths, body=5000)
    request = {"body": b"x" * 1_000_000, "headers": {**BEARER, "content-length": "10"}}
    ((status, _, _),) = made.ask(request)
    assert status == 413


def test_too_much_at_once_is_put_off(endpoint: Make) -> None:
    status, _, told = endpoint(lengths, waiting=2).post({"query": ["a", "b", "c"]})
    assert (status, told["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/", "/docs", "/get_reward/../etc", "/openapi.json"])
def test_there_is_nothing_else(endpoint: Make, path: str) -> None:
    ((status, _, _),) = endpoint(lengths).ask({"path": path, "method": "GET"})
    assert status == 404


def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefine.cli.main import main

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(sys, "argv", ["prefine", "serve", "reward", "out/reward"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "pip install 'prefine[serve]'" in capsys.readouterr().err


# --- The numbers ---------------------------------------------------------------------------------

CHATS = [
    ([{"role": "user", "content": f"say {n}"}], "yes " * (n % 3 + 1) + "no" * n) for n in range(6)
]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Path:
    """A reward model whose scores differ."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, bos_token_id=1,
        eos_token_id=3, num_labels=1, initializer_range=0.2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("served")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(reward: Path) -> RewardModel:
    return RewardModel.load(str(reward))


def ours(model: RewardModel) -> list[float]:
    records = Records.of(
        [
            Record(
                context=(Message("user", context[0]["content"]),),
                candidates=(Candidate("c0", (Message("assistant", text),)),),
            )
            for context, text in CHATS
        ]
    )
    return model(records).value[:, 0].tolist()


def rendered(tokenizer: Any) -> tuple[list[str], list[str]]:
    """Whole conversations, generated to their end of sequence, and their prompts."""

    def text(context: Any, **options: Any) -> str:
        return tokenizer.apply_chat_template(context, tokenize=False, **options)

    prompts = [text(context, add_generation_prompt=True) for context, _ in CHATS]
    whole = [prompt + said + "<|im_end|>" for prompt, (_, said) in zip(prompts, CHATS, strict=True)]
    return whole, prompts


def test_the_endpoint_says_what_prefine_says(
    endpoint: Make, model: RewardModel, tiny_tokenizer: Any
) -> None:
    """Rendered, with and without prompts; as messages; padded; open at the end: one number."""
    made = endpoint(Queries(model), batch=4)
    expected = ours(model)
    assert len({round(value, 4) for value in expected}) == len(expected)
    whole, prompts = rendered(tiny_tokenizer)
    messages = [[*context, {"role": "assistant", "content": said}] for context, said in CHATS]
    for asked in (
        {"query": whole, "prompts": prompts},
        {"query": whole},
        {"query": messages},
        {"query": ["<|pad|>" * 3 + text + "<|pad|>" for text in whole], "prompts": prompts},
        {"query": [text.removesuffix("<|im_end|>") for text in whole], "prompts": prompts},
        {"query": [text.removesuffix("<|im_end|>") for text in whole]},
        {"query": [text + "\n" for text in whole], "prompts": prompts},
        {"query": [text.removeprefix("<|bos|>") for text in whole]},
    ):
        status, found, _ = made.post(asked)
        assert status == 200, found
        assert found["rewards"] == pytest.approx(expected, abs=1e-5)
        assert found["extra_logs"]["prompt_cut"] == [0] * len(CHATS)


def test_a_long_prompt_is_cut_and_said_a_long_response_is_refused(
    endpoint: Make, reward: Path, tiny_tokenizer: Any
) -> None:
    made = endpoint(Queries(RewardModel.load(str(reward), max_length=60)))
    context = [{"role": "user", "content": "why " * 30}]
    prompt = tiny_tokenizer.apply_chat_template(context, tokenize=False, add_generation_prompt=True)
    asked = {"query": [prompt + "yes<|im_end|>"], "prompts": [prompt]}
    status, found, _ = made.post(asked)
    assert (status, found["extra_logs"]) == (200, {"prompt_cut": [1]})
    status, found, _ = made.post({"query": asked["query"]})
    assert status == 422
    assert "the response alone fills max_length=60" in found["error"]
    long = [[*context, {"role": "assistant", "content": "no <|im_end|> yes"}]]
    status, found, _ = made.post({"query": long})
    assert status == 422
    assert "control token" in found["error"]


def test_the_encoder_keeps_nothing_of_what_it_saw(model: RewardModel) -> None:
    """A server runs for weeks."""
    queries = Queries(model)
    sizes = set()
    for n in range(30):
        queries([(f"text {n} " * 20, None)])
        sizes.add(len(queries._encoder._ids._texts))
    assert max(sizes) < 5


# --- The server ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(reward: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `prefine serve reward`, run as a user runs it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefine", "serve", "reward", str(reward), "--port", str(port)]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stderr=said, env={**os.environ, "PREFINE_TOKEN": TOKEN})
    try:
        deadline = time.monotonic() + 120
        while "serving" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert "Traceback" not in log.read_text(encoding="utf-8")
        assert TOKEN not in log.read_text(encoding="utf-8"), "a token that is known is not printed"
    finally:
        process.kill()
        process.wait()


def test_the_server_answers(server: str, model: RewardModel, tiny_tokenizer: Any) -> None:
    with urllib.request.urlopen(f"{server}/health", timeout=30) as answer:
        assert json.load(answer) == {"status": "ok"}
        assert "server" not in {name.lower() for name in answer.headers}
    whole, prompts = rendered(tiny_tokenizer)
    body = json.dumps({"query": whole, "prompts": prompts}).encode()
    request = urllib.request.Request(f"{server}/get_reward", body, headers=BEARER)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    assert found["rewards"] == pytest.approx(ours(model), abs=1e-5)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(f"{server}/get_reward", body), timeout=30)


def test_an_address_with_the_token_is_enough(server: str) -> None:
    """OpenRLHF sets no header; requests makes the password of an address one, as aiohttp does."""
    import requests

    url = server.replace("http://", f"http://prefine:{TOKEN}@") + "/get_reward"
    found = requests.post(url, json={"query": ["a"], "prompts": ["b"], "labels": [""]}, timeout=30)
    assert found.status_code == 200
