"""One process of `prepare.py`: a side prepares pairs, or goes to its first step, and says how long.

TRL's sides run in an environment without prefine, so nothing of prefine is imported but there.
"""

import copy
import hashlib
import importlib
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Clock = tuple[float, float]


def clock() -> Clock:
    """Wall seconds, and CPU seconds of this process and the children it waited for."""
    times = os.times()
    return time.perf_counter(), times[0] + times[1] + times[2] + times[3]


def since(begin: Clock) -> dict[str, float]:
    now = clock()
    return {"wall_s": now[0] - begin[0], "cpu_s": now[1] - begin[1]}


def memory(name: str) -> float:
    """A line of this process' status, MB: VmRSS all that is resident, RssAnon without files."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1000
    raise KeyError(name)


class Peak:
    """The most memory of its own that this process had, looked at every 20 ms."""

    def __enter__(self) -> "Peak":
        self.base = self.most = memory("RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, memory("RssAnon"))


def digest(columns: Iterable[Sequence[Sequence[int]]]) -> str:
    """Hash prompt, chosen and rejected ids of every pair."""
    import numpy as np

    found = hashlib.sha256()
    for pair in columns:
        for ids in pair:
            found.update(np.asarray([len(ids), *ids], dtype=np.int64).tobytes())
    return found.hexdigest()


def prefine(source: str, tokenizer: Any, model: Any, processes: int | None) -> tuple[Any, Any]:
    """From a file to rows that batches are made of."""
    from prefine.adapters import CausalLM
    from prefine.records import load

    begin = clock()
    view = load(source).pairs()
    read = since(begin)
    begin = clock()
    rows = CausalLM(tokenizer, max_length=None).prepare(view).dataset
    pairs = ([row["prompt"][0], *row["response"]] for row in rows)
    return {"read": read, "prepare": since(begin)}, pairs


def trl(source: str, tokenizer: Any, model: Any, processes: int | None) -> tuple[Any, Any]:
    """From a file to a trainer that holds token ids."""
    import tempfile

    from datasets import load_dataset

    library: Any = importlib.import_module("trl")  # its names are imported when asked for
    config, dpo = library.DPOConfig, library.DPOTrainer
    with tempfile.TemporaryDirectory() as folder:
        begin = clock()
        data: Any = load_dataset("json", data_files=source, split="train", cache_dir=folder)
        read = since(begin)
        args = config(
            output_dir=folder, report_to="none", max_length=None, dataset_num_proc=processes,
            use_cpu=True, bf16=False,
        )  # fmt: skip
        reference = copy.deepcopy(model)
        begin = clock()
        trainer = dpo(
            model=model,
            ref_model=reference,
            args=args,
            train_dataset=data,
            processing_class=tokenizer,
        )
        took = {"read": read, "prepare": since(begin)}
        ready = trainer.train_dataset.with_format("numpy")
        pairs = [[row[f"{k}_ids"] for k in ("prompt", "chosen", "rejected")] for row in ready]
    return took, pairs


SIDES = {"prefine": (prefine, None), "trl": (trl, None), "trl_2": (trl, 2)}


def prepare(side: str, folder: Path, source: str) -> dict[str, Any]:
    """Prepare the pairs of a file, after ten others, so that what is imported late is there."""
    from datasets import disable_caching, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer

    disable_progress_bars()
    disable_caching()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    run, processes = SIDES[side]
    run(str(folder / "few.jsonl"), tokenizer, model, None)
    with Peak() as peak:
        took, pairs = run(source, tokenizer, model, processes)
    after = memory("RssAnon")
    took["memory_mb"] = {"peak": peak.most - peak.base, "kept": after - peak.base}
    return {**took, "tokens": digest(pairs)}


def first_step(side: str, folder: Path, source: str) -> dict[str, Any]:
    """Go from nothing to the end of the first step, and stop there."""
    started = float(os.environ["STARTED"])

    def stop(*_: object, **__: object) -> None:
        times = os.times()
        found = {"wall_s": time.time() - started, "cpu_s": times[0] + times[1]}
        print(json.dumps(found), flush=True)
        os._exit(0)

    from transformers.trainer_callback import CallbackHandler

    CallbackHandler.on_step_end = stop
    out = str(folder / f"out-{os.getpid()}")
    if side == "prefine":
        from prefine.cli.main import main

        given = {"--model": str(folder / "model"), "--data": source, "--out": out}
        sys.argv = ["prefine", "train", "dpo", *(word for pair in given.items() for word in pair)]
        main()
        raise SystemExit("no step was taken")
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    library: Any = importlib.import_module("trl")
    data: Any = load_dataset("json", data_files=source, split="train", cache_dir=f"{out}-cache")
    library.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "model"),
        args=library.DPOConfig(
            output_dir=out,
            report_to="none",
            per_device_train_batch_size=8,
            use_cpu=True,
            bf16=False,
            precompute_ref_log_probs=side == "trl_cached",
        ),
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
    ).train()
    raise SystemExit("no step was taken")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    task, which, where, pairs_file = sys.argv[1:]
    measured = {"prepare": prepare, "first_step": first_step}[task]
    print(json.dumps(measured(which, Path(where), pairs_file)))
