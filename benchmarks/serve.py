"""How many rewards a second the endpoint answers, how long each takes, and what batching gains.

`prefine serve reward` runs in a process of its own; clients in this one send one query a request,
as OpenRLHF does, and wait for each answer before the next. A round is measured at every number of
clients, with batches and without (`--batch 1`), in turn; the interval is over rounds. Beside it
stands the same model on the same queries in this process, in batches, without HTTP. Both processes
share the machine's cores, so the clients take some of what the server could use.

`make bench-serve` writes docs/results/serve.json.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TOKEN = "benchmark-of-the-endpoint"
CLIENTS = (1, 4, 16, 64)
BATCHES = (16, 1)
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
DRAWS = 1000
SIZE = {
    "vocab_size": 260, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 4,
}  # fmt: skip
PACKAGES = ("prefine", "torch", "transformers", "starlette", "uvicorn")


def make_model(folder: Path) -> None:
    """Write a reward model with random weights and a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={token: n for n, token in enumerate(special + alphabet)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore
    backend.decoder = decoders.ByteLevel()  # type: ignore
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    torch.manual_seed(0)
    config = LlamaConfig(**SIZE, num_labels=1, pad_token_id=0, eos_token_id=3, bos_token_id=None)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def queries(count: int) -> list[bytes]:
    """Requests of one conversation each, of 60 to 250 characters (here: tokens)."""
    rng = random.Random(0)

    def text(low: int, high: int) -> str:
        return "".join(rng.choices("etaoin shrdlu", k=rng.randint(low, high)))

    made = []
    for _ in range(count):
        prompt = f"\n\nHuman: {text(30, 120)}\n\nAssistant:"
        asked = {
            "query": [f"{prompt} {text(20, 100)}<|im_end|>"],
            "prompts": [prompt],
            "labels": [""],
        }
        made.append(json.dumps(asked).encode())
    return made


class Server:
    """`prefine serve reward` in a process of its own."""

    def __init__(self, model: Path, batch: int, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = ["serve", "reward", str(model), "--port", str(self.port), "--batch", str(batch)]
        with log.open("w", encoding="utf-8") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefine", *words],
                stderr=said,
                env={**os.environ, "PREFINE_TOKEN": TOKEN},
            )
        while "serving" not in log.read_text(encoding="utf-8"):
            if self.process.poll() is not None:
                raise RuntimeError(log.read_text(encoding="utf-8"))
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


async def client(port: int, bodies: list[bytes], seconds: list[float]) -> None:
    """Send requests one after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        head = (
            f"POST /get_reward HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(told.partition("content-length:")[2].split()[0])
        answer = json.loads(await reader.readexactly(length))
        seconds.append(time.perf_counter() - start)
        if len(answer["rewards"]) != 1:
            raise RuntimeError(f"no reward came: {answer}")
    writer.close()
    await writer.wait_closed()


async def burst(port: int, bodies: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Return wall seconds, and the seconds that each request took."""
    seconds: list[float] = []
    start = time.perf_counter()
    await asyncio.gather(*(client(port, bodies[n::clients], seconds) for n in range(clients)))
    return time.perf_counter() - start, seconds


def direct(model: Path, bodies: list[bytes], rounds: int) -> list[float]:
    """Rewards a second of the same queries in this process, in batches of sixteen."""
    from prefine.engine.tune import tune
    from prefine.models import RewardModel
    from prefine.web import Queries

    tune()
    score = Queries(RewardModel.load(str(model)))
    asked = [(body["query"][0], body["prompts"][0]) for body in map(json.loads, bodies)]
    rates = []
    for number in range(-1, rounds):
        start = time.perf_counter()
        for at in range(0, len(asked), 16):
            score(asked[at : at + 16])
        if number >= 0:
            rates.append(len(asked) / (time.perf_counter() - start))
    return rates


def interval(values: list[float], method: str = "t over rounds") -> dict[str, Any]:
    from prefine.statistics import t_interval

    return t_interval(values, method=method).to_json()


def quantile(seconds: list[list[float]], at: float) -> dict[str, Any]:
    """A quantile of the latencies, seconds; whole rounds are drawn: requests share batches."""
    from prefine.statistics import Stat

    rng = np.random.default_rng(0)
    rounds = [np.asarray(one) for one in seconds]
    drawn = [
        np.quantile(
            np.concatenate([rounds[n] for n in rng.integers(0, len(rounds), len(rounds))]), at
        )
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    everything = np.concatenate(rounds)
    value = float(np.quantile(everything, at))
    method = f"bootstrap over {len(rounds)} rounds"
    return Stat(value, float(low), float(high), len(everything), method=method).to_json()


def measure(model: Path, folder: Path, bodies: list[bytes], rounds: int) -> list[dict[str, Any]]:
    servers = {batch: Server(model, batch, folder / f"log-{batch}") for batch in BATCHES}
    rates: dict[tuple[int, int], list[float]] = {}
    taken: dict[tuple[int, int], list[list[float]]] = {}
    try:
        for number in range(-1, rounds):
            for clients in CLIENTS:
                few = bodies[: max(64, 8 * clients)] if number < 0 else bodies
                for batch in BATCHES if number % 2 else BATCHES[::-1]:
                    wall, seconds = asyncio.run(burst(servers[batch].port, few, clients))
                    if number >= 0:
                        rates.setdefault((clients, batch), []).append(len(few) / wall)
                        taken.setdefault((clients, batch), []).append(seconds)
    finally:
        for server in servers.values():
            server.stop()
    return [
        {
            "clients": clients,
            "batch": batch,
            "requests_per_second": {
                **interval(rates[clients, batch]),
                "rounds": rates[clients, batch],
            },
            "seconds": {name: quantile(taken[clients, batch], q) for name, q in QUANTILES.items()},
        }
        for clients in CLIENTS
        for batch in BATCHES
    ]


def gains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Requests a second with batches over those without, round by round."""
    found = {(row["clients"], row["batch"]): row["requests_per_second"]["rounds"] for row in rows}
    return [
        {"clients": n, **interval([a / b for a, b in zip(found[n, 16], found[n, 1], strict=True)])}
        for n in CLIENTS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the reward endpoint under load.")
    parser.add_argument("--requests", type=int, default=512, help="of a round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve.json"))
    args = parser.parse_args()
    from prefine.bench.figures import machine

    bodies = queries(args.requests)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="prefine-serve-") as name:
        folder = Path(name)
        make_model(folder / "model")
        inside = direct(folder / "model", bodies, args.rounds)
        rows = measure(folder / "model", folder, bodies, args.rounds)
    story = {
        "command": f"python benchmarks/serve.py --requests {args.requests} --rounds {args.rounds}",
        "model": {"kind": "LlamaForSequenceClassification, random weights, float32", **SIZE},
        "queries": "one a request, 70 to 245 tokens, seeded characters",
        "machine": {**machine(), "cores": os.cpu_count(), "shared": True, "load_before": load},
        "threads": os.environ.get("OMP_NUM_THREADS", "all cores"),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "without_http": {"rewards_per_second": interval(inside)},
        "endpoint": rows,
        "gain_of_batches": gains(rows),
    }
    args.out.write_text(json.dumps(story, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        rate, seconds = row["requests_per_second"], row["seconds"]
        print(
            f"{row['clients']:>3} clients, batch {row['batch']:>2}: {rate['value']:.0f} "
            f"[{rate['low']:.0f}, {rate['high']:.0f}] a second, median "
            f"{1e3 * seconds['median']['value']:.1f} ms, p99 {1e3 * seconds['p99']['value']:.1f} ms"
        )


if __name__ == "__main__":
    main()
