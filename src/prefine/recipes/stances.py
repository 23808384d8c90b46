"""What checkpoints answer to the same prompts, and which stances a judge reads in it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.models import load_policy, load_tokenizer
from prefine.recipes.own_words import Floats, OnModel, OwnWords
from prefine.records import Record, Records
from prefine.records.functions import ask, function_named

StanceJudge = Callable[..., Sequence[Mapping[str, float]]]
"""`f(prompts=[...], completions=[...])` returns {stance: probability} for each answer."""


def stances_of(
    models: Sequence[str],
    asked: Sequence[Record],
    judge: str,
    *,
    template: str = "auto",
    max_new_tokens: int = 256,
    seed: int = 0,
    on_model: OnModel | None = None,
) -> tuple[list[str], Floats]:
    """Ask each checkpoint and have its answers judged.

    Args:
        models: Folders, in the order of training.
        asked: N records whose contexts are the prompts.
        judge: `module:function`.
        template: Chat template.
        max_new_tokens: Longest answer.
        seed: Of the answers.
        on_model: Called before each model.

    Returns:
        Names of the S stances, and [T, N, S] their probabilities.

    Raises:
        ConfigError: If there is no such function, or it does not give each answer its stances.
    """
    function: StanceJudge = function_named(judge, "--judge")
    told: list[list[Mapping[str, float]]] = []
    for done, name in enumerate(models):
        if on_model is not None:
            on_model(name, done, len(models))
        adapter = CausalLM(load_tokenizer(name), template=template)
        words = OwnWords(name, asked, template=template, max_new_tokens=max_new_tokens, seed=seed)
        told.append(_judged(function, judge, words.answers(load_policy(name), adapter)))
    names = sorted({stance for answers in told for answer in answers for stance in answer})
    table = [[[answer.get(stance, 0.0) for stance in names] for answer in row] for row in told]
    return names, np.array(table, dtype=np.float64)


def _judged(function: StanceJudge, name: str, answers: Records) -> list[Mapping[str, float]]:
    given = ask(function, name, "--judge", answers)
    wrong = [at for at, one in enumerate(given) if not isinstance(one, Mapping)]
    if wrong:
        raise ConfigError(
            f"--judge {name} must return a mapping of stances to probabilities for each answer; "
            f"number {wrong[0]} is {given[wrong[0]]!r}."
        )
    return given
