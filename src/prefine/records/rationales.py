"""A pair with the reason for it: an item whose prompt shows both responses."""

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from prefine.errors import ConfigError
from prefine.records.codec import compact
from prefine.records.schema import Judgment, Record
from prefine.records.table import view_schema, write_table
from prefine.records.views import View, response_json

RATIONALE = "rationale"
"""Role of the item whose response is the reason."""

ASK = """Two responses to the above were compared.

Response A:
{a}

Response B:
{b}

People preferred response {preferred}. Explain why."""

NAMED = re.compile(r"@?\b(response|Response) ([12])\b")


def with_rationales(view: View, records: Iterable[Record], *, seed: int) -> View:
    """Add to every pair whose judgment gives a reason an item `rationale`.

    Its prompt is that of the pair with both responses, as A and B in random order, and which was
    preferred; its response is the reason. "Response 1" and "Response 2" in a reason, which mean
    the order in which the responses were shown, become A and B. Rows without a reason stay as they
    are; the recipe counts them under `without rationale`.

    Args:
        view: Pairs.
        records: Where they come from. Reasons are those of judgments that prefer the chosen
            response; of several, one is drawn.
        seed: Of the order, and of which reason.

    Raises:
        ConfigError: If the view is not of pairs.

    Source:
        Just et al. 2024, arXiv:2407.14477; the random order and the words are ours.
    """
    if view.kind != "pair":
        raise ConfigError(f"A reason belongs to a pair, and this view is of {view.kind}s.")
    reasons = {record.id: record for record in records if any(_speaks(j) for j in record.judgments)}
    without = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal without
        for at, row in enumerate(view.rows):
            rng = random.Random(f"{seed}/{row['record']}/{at}")
            record = reasons.get(row["record"])
            found = [] if record is None else list(_reasons(record, row))
            without += not found
            yield _explained(row, rng.choice(found), rng) if found else dict(row)

    table = write_table(rows(), view_schema())
    recipe = {**view.recipe, "rationales": seed, "without rationale": without}
    return replace(view, rows=table, recipe=recipe)


def _speaks(judgment: Judgment) -> bool:
    return judgment.valid and bool(judgment.rationale and judgment.rationale.strip())


def _reasons(record: Record, row: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield reasons for what a row prefers, and whether the chosen response was shown first."""
    chosen, rejected = (row["responses"][item["response"]] for item in row["items"][:2])
    said = {one.id: response_json(one) for one in record.candidates}
    for judgment in record.judgments:
        if not _speaks(judgment) or judgment.aspect != row["aspect"]:
            continue
        ranks = judgment.ranks or {}
        for best in judgment.shown:
            for worst in judgment.shown:
                prefers = judgment.winner == best or ranks.get(best, 0) < ranks.get(worst, 0)
                if best == worst or not prefers or (said[best], said[worst]) != (chosen, rejected):
                    continue
                assert judgment.rationale is not None
                yield judgment.rationale, judgment.shown.index(best) < judgment.shown.index(worst)


def _explained(
    row: Mapping[str, Any], reason: tuple[str, bool], rng: random.Random
) -> dict[str, Any]:
    text, chosen_first = reason
    letters = ("A", "B") if rng.random() < 0.5 else ("B", "A")  # of chosen and of rejected
    shown = letters if chosen_first else letters[::-1]
    text = NAMED.sub(lambda m: f"{m[1]} {shown[int(m[2]) - 1]}", text)
    responses = [_text(row["responses"][item["response"]]) for item in row["items"][:2]]
    a, b = responses if letters[0] == "A" else responses[::-1]
    ask = ASK.format(a=a, b=b, preferred=letters[0])
    prompts, replies = list(row["prompts"]), list(row["responses"])
    item = {"prompt": len(prompts), "response": len(replies), "role": RATIONALE}
    reply = [{"role": "assistant", "content": text}]
    return {
        **row,
        "prompts": [*prompts, _asked(prompts[row["items"][0]["prompt"]], ask)],
        "responses": [*replies, compact(reply)],
        "items": [*row["items"], item],
        "utility": [*row["utility"], None],
        "label": [*row["label"], None],
    }


def _text(response: str) -> str:
    """What a response says; calls of tools as they are written."""
    return "\n".join(
        str(message.get("content") or json.dumps(message.get("tool_calls", "")))
        for message in json.loads(response)
    ).strip()


def _asked(prompt: str, ask: str) -> str:
    """The prompt with a question at its end, in the turn of the user who spoke last."""
    said: dict[str, Any] = json.loads(prompt)
    before: list[dict[str, Any]] = said["messages"]
    last = before[-1] if before else None
    if last is not None and last["role"] == "user" and isinstance(last["content"], str):
        after = "\n\n" if said.get("form") == "text" else ""
        whole = {**last, "content": f"{last['content']}\n\n{ask}{after}"}
        return compact({**said, "messages": [*before[:-1], whole]})
    return compact({**said, "messages": [*before, {"role": "user", "content": ask}]})
