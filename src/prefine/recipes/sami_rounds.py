"""SAMI in rounds: answer under each constitution, tell one's own answers apart, and again."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, RecordError
from prefine.models.whole import whole_model
from prefine.recipes.answering import Answering
from prefine.recipes.own_words import first_of_each_prompt
from prefine.recipes.principles import Principles, copies, under
from prefine.recipes.rounds import OnStage
from prefine.recipes.stages import Run, Stage, run_stages
from prefine.records import Record, Records
from prefine.records.grids import GRID, INSTRUCTION
from prefine.storage import write_json
from prefine.training.config import RunConfig, parse
from prefine.training.plan import LORA_FACTOR
from prefine.training.run import train

OBJECTIVE = "prefine.objectives.grid:grid_contrast"
RATE = 5e-7
STEPS = {
    "optim": "rmsprop", "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4,
    "num_train_epochs": 1,
}  # fmt: skip
"""Sixteen grids a step and one pass, as the authors train."""


@dataclass(frozen=True, kw_only=True)
class SamiRounds:
    """What is done in each round.

    Attributes:
        model: Where the first round starts.
        principles: What contradicts what.
        rounds: How many.
        requests: Requests of a round, drawn anew; with sixteen a step, 512 are 32 steps.
        max_new_tokens: Longest response.
        batch_size: Prompts at once, where responses are drawn.
        template: Chat template.
        seed: Of the first round; each has its own.
        settings: Further keys of a run: `training`, `lora`, `max_length`, `holdout`, ...

    Raises:
        ConfigError: If a number makes no sense, or a key belongs to the rounds themselves.

    Source:
        Fränken et al. 2024, arXiv:2404.14313: few dozens of steps a round, up to three rounds.
    """

    model: str
    principles: Principles
    rounds: int = 3
    requests: int = 512
    max_new_tokens: int = 256
    batch_size: int = 8
    template: str = "auto"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check what no run would."""
        if self.rounds < 1 or self.requests < 1:
            raise ConfigError(
                f"There must be a round or more and a request or more, got {self.rounds} and "
                f"{self.requests}."
            )
        own = {"objective", "options", "model", "data", "out", "seed", "template", "rows"}
        own |= {"reference", "reference_update", "mixing", "rationale", "eval_data", "degrees"}
        own |= {"chase", "streaming", "denoising", "head_only"}
        if taken := sorted(own & self.settings.keys()):
            raise ConfigError(
                f"{', '.join(taken)}: the rounds set these themselves, or nothing in them reads "
                "these. Remove them."
            )

    def identity(self) -> dict[str, Any]:
        """What must be the same when a program goes on, but the number of rounds."""
        return {
            "model": self.model, "principles": self.principles.to_json(),
            "requests": self.requests, "max_new_tokens": self.max_new_tokens,
            "batch_size": self.batch_size, "template": self.template, "seed": self.seed,
            "settings": dict(self.settings),
        }  # fmt: skip

    def training(self) -> dict[str, Any]:
        """Arguments of training, those that were given over those of the paper."""
        rate = RATE * (1 if self.settings.get("lora") is None else LORA_FACTOR)
        return {"learning_rate": rate, **STEPS, **self.settings.get("training", {})}


def run_sami(
    asked: Records,
    rounds: SamiRounds,
    out: Path,
    *,
    resume: bool = False,
    on_stage: OnStage | None = None,
) -> str:
    """Run all rounds; return the folder of the last policy.

    Each round leaves `sampled.json` (how many responses were cut off, and how many repeat their
    constitution), `records.jsonl` (a record for each request and constitution, with the response)
    and the run of its training.

    Args:
        asked: Whose contexts are the requests; what people said of them is not read.
        rounds: What is done.
        out: Folder.
        resume: Go on after the last stage that ended.
        on_stage: Called before each stage.

    Raises:
        ConfigError: If a key of a run is unknown, or its value makes no sense.
        RecordError: If no request can be put under a constitution.
    """
    _config(rounds, 0, rounds.model, "data", "out")  # before the first response is drawn
    requests = Records.of(first_of_each_prompt(asked))
    stages: list[Stage] = []
    for n in range(rounds.rounds):
        stages.append(Stage(f"sample-{n}", _sampling(rounds, requests, n)))
        stages.append(Stage(f"train-{n}", _training(rounds, n)))
    _, model = run_stages(
        stages, requests, rounds.model, out, identity=[rounds.identity(), asked.fingerprint],
        resume=resume, on_stage=on_stage,
    )  # fmt: skip
    return model


def grid_prompts(
    requests: Sequence[Record], constitutions: Sequence[str], prefix: str = ""
) -> Iterator[Record]:
    """Yield each request under each constitution, those of a request together.

    A request that ends with no text of a user is left out.

    Args:
        requests: Records; their candidates are dropped.
        constitutions: Texts.
        prefix: Of the names of grids.
    """
    for number, record in enumerate(requests):
        for at, text in enumerate(constitutions):
            made = under(record, text)
            if made is None:
                break
            tags = {**made.tags, GRID: f"{prefix}{number}", INSTRUCTION: at}
            yield Record(
                source=made.source, context=made.context, tools=made.tools, candidates=(),
                principal=made.principal, tags=tags,
            )  # fmt: skip


def _sampling(rounds: SamiRounds, requests: Records, n: int) -> Run:
    def run(_: Records, model: str, folder: Path) -> tuple[Records, str]:
        constitutions = rounds.principles.texts()
        order = list(range(len(requests)))
        random.Random(f"{rounds.seed}/{n}").shuffle(order)
        drawn = [requests[at] for at in sorted(order[: rounds.requests])]
        prompts = list(grid_prompts(drawn, constitutions, f"{n}-"))
        if not prompts:
            raise RecordError(
                "No request ends with a text of a user, so none can be put under a constitution. "
                "Name other data."
            )
        sampler = Answering(
            model=model, max_new_tokens=rounds.max_new_tokens, batch_size=rounds.batch_size,
            template=rounds.template,
        ).sampler()  # fmt: skip
        said = sampler(prompts, n=1, seed=rounds.seed + n)
        grids = len(prompts) // len(constitutions)
        copied = sum(
            copies(record.candidates[0].text, constitutions[int(record.tags[INSTRUCTION])])
            for record in said.records
        )
        write_json(
            folder / "sampled.json",
            {
                "grids": grids, "constitutions": len(constitutions),
                "responses": len(prompts), "cut": int((~said.finished).sum()), "copied": copied,
                "left_out": len(drawn) - grids,
            },
        )  # fmt: skip
        return said.records, model

    return run


def _training(rounds: SamiRounds, n: int) -> Run:
    def run(records: Records, model: str, folder: Path) -> tuple[Records, str]:
        data = folder.parent / f"{2 * n}-sample-{n}" / "records.jsonl"
        result = train(_config(rounds, n, model, str(data), str(folder / "run")), quiet=True)
        return records, whole_model(str(result.folder), folder / "merged")

    return run


def _config(rounds: SamiRounds, n: int, model: str, data: str, out: str) -> RunConfig:
    return parse({
        "holdout": 0, "truncate": "drop", **rounds.settings, "objective": OBJECTIVE,
        "model": model, "template": rounds.template, "seed": rounds.seed + n, "out": out,
        "training": rounds.training(), "data": data,
    })  # fmt: skip
