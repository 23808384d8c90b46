"""Pairs made of prompts: one response under two prompts, and two margins that differ by a prompt.

A record has one prompt, so these rows are a view's: they are made of its pairs, as captions are of
pictures.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefine.errors import ConfigError
from prefine.records.codec import compact
from prefine.records.instructions import FAMILIES, Instruction, drawn
from prefine.records.table import view_schema, write_table
from prefine.records.views import View

LEVELS = ("intra", "inter")
MOST = 3
"""Most instructions added to a prompt."""

Row = dict[str, Any]


def with_instructions(
    view: View,
    weights: Mapping[str, float],
    seed: int,
    *,
    as_lists: bool = False,
    checkers: Sequence[str] = tuple(FAMILIES),
) -> View:
    """Return pairs with rows that compare prompts beside them.

    `intra`: a response of the pair under a prompt whose added instructions it obeys, better than
    under one whose instructions it does not: all against not all, or some against none. `inter`:
    two margins of the pair, the larger first: instructions that the chosen response obeys and the
    rejected one breaks widen it, those of the opposite kind narrow it; four responses a row.

    Args:
        view: Pairs.
        weights: Level -> weight of its rows; a level that is not named adds none.
        seed: Which instructions, for which response, in which direction.
        as_lists: Return lists of two and four responses, which `margin_dpo` and
            `margin_reward` take.
        checkers: Of `prefine.records.instructions.FAMILIES`.

    Returns:
        The pairs, and after each of them a row of every level; pairs of which none can be made are
        counted for that level.

    Raises:
        ConfigError: If the view is not of pairs, `inter` is asked for without `as_lists`, or a
            level, weight or checker is none.

    Source:
        MAPL, arXiv:2505.12845; the words of the instructions are ours.
    """
    _check(view, weights, as_lists, checkers)
    aside: Counter[str] = Counter(view.set_aside)

    def rows() -> Iterator[Row]:
        for at, row in enumerate(view.rows):
            yield _numbered(row) if as_lists else row
            if row["tie"]:
                continue
            for level, weight in weights.items():
                rng = random.Random(f"{seed}/{row['record']}/{at}/{level}")
                made = (
                    _intra(row, checkers, rng) if level == "intra" else _inter(row, checkers, rng)
                )
                if isinstance(made, str):
                    aside[f"{level}: {made}"] += 1
                    continue
                made |= {"weight": row["weight"] * weight, "prob": None, "margin": None}
                yield _numbered(made) if as_lists else made

    table = write_table(rows(), view_schema())
    recipe = {**view.recipe, "instructions": dict(weights), "checkers": [*checkers], "seed": seed}
    kind = "list" if as_lists else "pair"
    return replace(view, kind=kind, rows=table, set_aside=dict(aside), recipe=recipe)


def _check(
    view: View, weights: Mapping[str, float], as_lists: bool, checkers: Sequence[str]
) -> None:
    if view.kind != "pair":
        raise ConfigError(f"Instructions are added to pairs, and this view is of {view.kind}s.")
    for level, weight in weights.items():
        if level not in LEVELS or not weight > 0:
            raise ConfigError(
                f"`instructions` must give {' and '.join(LEVELS)} a positive weight, got "
                f"{level}: {weight}."
            )
    if "inter" in weights and not as_lists:
        raise ConfigError(
            "Rows of `inter` compare two margins, four responses a row, which no loss of pairs "
            "takes. Train margin_dpo (margin_reward for a reward model), or ask for `intra` alone."
        )
    if not checkers or set(checkers) - set(FAMILIES):
        raise ConfigError(f"`checkers` must be of {', '.join(FAMILIES)}, got {[*checkers]}.")


def _intra(row: Row, checkers: Sequence[str], rng: random.Random) -> Row | str:
    """A response under the prompt that it obeys, and under the one that it does not."""
    at = rng.randrange(2)
    text = _text(row["responses"][row["items"][at]["response"]])
    if text is None:
        return "the response holds more than text"
    families = rng.sample(list(checkers), min(len(checkers), rng.randint(1, MOST)))
    better, worse = _truths(len(families), rng)
    prompts: list[str] = []
    for truths in (better, worse):
        told = [
            drawn(family, [text] if truth else [], [] if truth else [text], rng)
            for family, truth in zip(families, truths, strict=True)
        ]
        # Every checker has an instruction that a text obeys, and one that it breaks.
        asked = _asked(row["prompts"][0], [one for one in told if one is not None])
        if asked is None:
            return "the prompt does not end in a user's text"
        prompts.append(asked)
    items = [
        {"prompt": p, "response": 0, "role": role} for p, role in enumerate(("chosen", "rejected"))
    ]
    response = row["responses"][row["items"][at]["response"]]
    return {**row, "prompts": prompts, "responses": [response], "items": items} | _unknown(2)


def _truths(count: int, rng: random.Random) -> tuple[list[bool], list[bool]]:
    """Which instructions the response obeys: all against not all, or some against none."""
    if rng.random() < 0.5:
        worse = [rng.random() < 0.5 for _ in range(count)]
        worse[rng.randrange(count)] = False
        return [True] * count, worse
    better = [rng.random() < 0.5 for _ in range(count)]
    better[rng.randrange(count)] = True
    return better, [False] * count


def _inter(row: Row, checkers: Sequence[str], rng: random.Random) -> Row | str:
    """The pair under its prompt and under one that widens or narrows its margin, wider first."""
    texts = [_text(row["responses"][item["response"]]) for item in row["items"]]
    if texts[0] is None or texts[1] is None:
        return "the response holds more than text"
    widens = rng.random() < 0.5
    obeys, breaks = texts if widens else texts[::-1]
    families = rng.sample(list(checkers), len(checkers))
    told = [drawn(family, [str(obeys)], [str(breaks)], rng) for family in families]
    kept = [one for one in told if one is not None][: rng.randint(1, MOST)]
    if not kept:
        return "no checker tells the responses apart"
    asked = _asked(row["prompts"][0], kept)
    if asked is None:
        return "the prompt does not end in a user's text"
    prompts = [asked, row["prompts"][0]] if widens else [row["prompts"][0], asked]
    items = [
        {"prompt": prompt, "response": item["response"], "role": ""}
        for prompt in (0, 1)
        for item in row["items"]
    ]
    return {**row, "prompts": prompts, "items": items} | _unknown(4)


def _unknown(count: int) -> Row:
    return {"utility": [None] * count, "label": [None] * count}


def _numbered(row: Row) -> Row:
    items = [{**item, "role": f"response_{at}"} for at, item in enumerate(row["items"])]
    return {**row, "items": items}


def _text(response: str) -> str | None:
    """The text of a response as a view stores it."""
    contents = [message["content"] for message in json.loads(response)]
    return "\n".join(contents) if all(isinstance(one, str) for one in contents) else None


def _asked(prompt: str, told: Sequence[Instruction]) -> str | None:
    """The prompt as a view stores it, with instructions behind its last turn."""
    said: dict[str, Any] = json.loads(prompt)
    last: dict[str, Any] = said["messages"][-1] if said["messages"] else {"role": ""}
    if last["role"] != "user" or not isinstance(last["content"], str):
        return None
    text = " ".join([f"{last['content']}\n", *(one.text for one in told)]).replace("\n ", "\n")
    return compact({**said, "messages": [*said["messages"][:-1], {**last, "content": text}]})
