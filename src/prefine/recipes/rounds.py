"""Rounds of sample, judge, train: a policy learns from pairs of its own responses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, RecordError
from prefine.estimators import ranked_pairs
from prefine.judges import OptionJudge, RewardComparison
from prefine.models import load_policy, load_tokenizer
from prefine.models.folder import ModelFolder, model_of
from prefine.models.whole import whole_model
from prefine.objectives import registry
from prefine.objectives.declare import Spec, spec
from prefine.protocols import Comparison
from prefine.recipes.own_words import first_of_each_prompt
from prefine.recipes.policy_numbers import judge_of
from prefine.recipes.stages import Stage, run_stages
from prefine.records import Judgment, Rater, Record, Records
from prefine.records.functions import function_named
from prefine.sampling import LanguageSampler
from prefine.storage import write_json
from prefine.training.beside import check_terms
from prefine.training.config import RunConfig, parse
from prefine.training.fit import made_of_kind
from prefine.training.run import train

OnStage = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What is done in each round.

    Attributes:
        model: Where the first round starts; the reference of all, if the objective has one.
        judge: `self`: the policy of the round; `initial`: the model as it was; else a reward model
            or `module:function`.
        rounds: How many.
        responses: To each prompt.
        objective: A loss on pairs.
        soft: Whether the judge's probability is the label, or its verdict.
        mixture: Share of the reference in what draws, token by token (IPO-MD).
        max_new_tokens: Longest response.
        template: Chat template.
        seed: Of the first round; each has its own.
        settings: Further keys of a run: `options`, `training`, `lora`, `max_length`, ...

    Raises:
        ConfigError: If a number makes no sense, or a key belongs to the rounds themselves.

    Source:
        OSP, arXiv:2405.14103 (self-judged, soft labels); online IPO and IPO-MD, arXiv:2403.08635.
    """

    model: str
    judge: str = "initial"
    rounds: int = 3
    responses: int = 4
    objective: str = "dpo"
    soft: bool = True
    mixture: float = 0.0
    max_new_tokens: int = 256
    template: str = "auto"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check what no run would."""
        if self.rounds < 1 or self.responses < 2:
            raise ConfigError(
                f"There must be a round or more and two responses or more, got {self.rounds} and "
                f"{self.responses}: a single response has no other to be better than."
            )
        own = {"objective", "model", "data", "out", "seed", "reference", "template"}
        if taken := sorted(own & self.settings.keys()):
            raise ConfigError(f"{', '.join(taken)}: the rounds set these themselves.")
        if self.settings.get("rows"):
            raise ConfigError("rows: pairs come from the judge, so there is nothing to choose.")

    def identity(self) -> dict[str, Any]:
        """What must be the same when a program goes on, but the number of rounds."""
        return {
            "model": self.model, "judge": self.judge, "responses": self.responses,
            "objective": self.objective, "soft": self.soft, "mixture": self.mixture,
            "max_new_tokens": self.max_new_tokens, "template": self.template, "seed": self.seed,
            "settings": dict(self.settings),
        }  # fmt: skip


def run_rounds(
    asked: Records,
    rounds: Rounds,
    out: Path,
    *,
    resume: bool = False,
    on_stage: OnStage | None = None,
) -> str:
    """Run all rounds; return the folder of the last policy.

    Each round leaves `sampled.json` (how many pairs came about, and how sure the judge was),
    `records.jsonl` (responses with their judgments) and the run of its training.

    Args:
        asked: Whose contexts are the prompts; what people said of them is not read.
        rounds: What is done.
        out: Folder.
        resume: Go on after the last stage that ended.
        on_stage: Called before each stage.

    Raises:
        ConfigError: If a key of a run is unknown, the objective takes no pairs, or nothing judges.
        RecordError: If no pair comes about.
    """
    _refuse_unfit(rounds)
    prompts = Records.of(first_of_each_prompt(asked))
    stages: list[Stage] = []
    for n in range(rounds.rounds):
        stages.append(Stage(f"sample-{n}", _sampling(rounds, prompts, n)))
        stages.append(Stage(f"train-{n}", _training(rounds, n)))
    data = [asked.fingerprint, len(prompts)]
    _, model = run_stages(
        stages, prompts, rounds.model, out, identity=[rounds.identity(), data], resume=resume,
        on_stage=on_stage,
    )  # fmt: skip
    return model


def judged(records: Records, better: Tensor, judge: str, *, soft: bool) -> Records:
    """Return the records with a judgment for each pair that is worth training on.

    Args:
        records: R records with K candidates.
        better: [R, K, K] as a `Comparison` gives it; pairs without a probability make none.
        judge: Who judged.
        soft: Whether judgments keep the probability.

    Example:
        >>> import torch
        >>> from prefine.records import Candidate, Message, Source
        >>> two = tuple(Candidate(f"c{k}", (Message("assistant", t),)) for k, t in enumerate("xy"))
        >>> record = Record(source=Source("s"), context=(Message("user", "?"),), candidates=two)
        >>> half = torch.tensor([[[0.5, 0.2], [0.8, 0.5]]])
        >>> found = judged(Records.of([record]), half, "me", soft=True)[0].judgments[0]
        >>> found.winner, found.prob
        ('c1', 0.8)
    """
    rater = Rater(judge, "model")

    def with_judgments(record: Record, table: Tensor) -> Record:
        kept = compared(table)
        names = [record.candidates[k].id for k in kept]
        if len(names) < 2:
            return record
        pairs, prob = ranked_pairs(table[kept][:, kept])
        return Record(
            source=record.source, context=record.context, tools=record.tools,
            candidates=record.candidates, principal=record.principal, tags=record.tags,
            judgments=tuple(
                Judgment(
                    f"j{k}", "pair", (names[i], names[j]), rater, winner=names[i],
                    prob=round(float(p), 6) if soft else None,
                )
                for k, ((i, j), p) in enumerate(zip(pairs.tolist(), prob, strict=True))
                if float(p) > 0.5
            ),
        )  # fmt: skip

    return Records.of(with_judgments(*each) for each in zip(records, better, strict=True))


def compared(table: Tensor) -> list[int]:
    """Return the candidates that were compared with all others that are returned.

    Example:
        >>> import torch
        >>> nan = float("nan")
        >>> compared(torch.tensor([[0.5, 0.9, nan], [0.1, 0.5, 0.2], [nan, 0.8, nan]]))
        [0, 1]
    """
    kept = list(range(len(table)))
    while (unknown := table[kept][:, kept].isnan().sum(1)).any():
        kept.pop(int(unknown.argmax()))
    return kept


def _sampling(rounds: Rounds, prompts: Records, n: int) -> Any:
    def run(_: Records, model: str, folder: Path) -> tuple[Records, str]:
        network, tokenizer = load_policy(model), load_tokenizer(rounds.model)
        base = load_policy(rounds.model) if rounds.mixture else None
        sampler = LanguageSampler(
            network, tokenizer, template=rounds.template, max_new_tokens=rounds.max_new_tokens,
            reference=base, mixture=rounds.mixture, name=f"round {n}",
        )  # fmt: skip
        drawn = sampler(prompts, n=rounds.responses, seed=rounds.seed + n)
        better = comparison(rounds, network)(drawn.records)
        found = judged(drawn.records, better, rounds.judge, soft=rounds.soft)
        pairs = sum(len(record.judgments) for record in found)
        sure = [j.prob for record in found for j in record.judgments if j.prob is not None]
        write_json(
            folder / "sampled.json",
            {
                "prompts": len(prompts), "responses": rounds.responses, "pairs": pairs,
                "cut": int((~drawn.finished).sum()),
                "not_compared": int(better.isnan().sum()) // 2,
                "mean_probability": sum(sure) / len(sure) if sure else None,
            },
        )  # fmt: skip
        if not pairs:
            raise RecordError(
                f"Round {n}: the judge found none of the responses better than another, so there "
                "is nothing to learn. Draw more responses, or name another judge."
            )
        return found, model

    return run


def comparison(rounds: Rounds, network: Any) -> Comparison:
    """Return what compares the responses of a round."""
    if rounds.judge not in ("self", "initial"):
        return RewardComparison(judge_of(model_of(rounds.judge), "--judge"))
    judging = network if rounds.judge == "self" else load_policy(rounds.model)
    adapter = CausalLM(load_tokenizer(rounds.model), template=rounds.template, max_length=None)
    return OptionJudge(judging, adapter)


def _training(rounds: Rounds, n: int) -> Any:
    def run(records: Records, model: str, folder: Path) -> tuple[Records, str]:
        data = folder.parent / f"{2 * n}-sample-{n}" / "records.jsonl"
        result = train(_config(rounds, n, model, str(data), str(folder / "run")), quiet=True)
        return records, whole_model(str(result.folder), folder / "merged")

    return run


def _config(rounds: Rounds, n: int, model: str, data: str, out: str) -> RunConfig:
    votes: Literal["soft", "majority"] = "soft" if rounds.soft else "majority"
    config = parse({
        "holdout": 0, **rounds.settings, "objective": rounds.objective, "model": model,
        "template": rounds.template, "data": data, "out": out, "seed": rounds.seed + n,
        "rows": {"votes": votes, "pairs": "all"},
    })  # fmt: skip
    if _declared(config).needs.reference:
        config.reference = rounds.model
    return config


def _declared(config: RunConfig) -> Spec:
    return spec(registry.build(config.objective, config.options))


def _refuse_unfit(rounds: Rounds) -> None:
    """Refuse before the first response is drawn what training or judging would refuse after it.

    Raises:
        ConfigError: For an unknown key, an objective that takes no pairs, or no judge.
    """
    config = _config(rounds, 0, rounds.model, "data", "out")
    declared = _declared(config)
    if made_of_kind(declared) != "pair" or declared.unit == "reward":
        raise ConfigError(
            f"--objective {rounds.objective}: rounds train a policy on pairs of its responses, "
            "which this objective does not take. Choose one that does, such as dpo or ipo."
        )
    check_terms(config, declared, rounds.objective)
    if rounds.judge in ("self", "initial"):
        return
    if Path(rounds.judge).is_dir() and not ModelFolder.read(rounds.judge).is_reward:
        raise ConfigError(
            f"--judge {rounds.judge}: this is a model that writes, with no rewards in it. Name a "
            "reward model, or let a model judge by its words: --judge initial, or self."
        )
    if ":" in rounds.judge and not Path(rounds.judge).exists():
        function_named(rounds.judge, "--judge")
