"""Rows of pairs with a damaged version of each response beside them, drawn anew in every epoch."""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefine.adapters.text import show
from prefine.errors import RecordError
from prefine.records.damaged import Rarity, texts_of, with_damage
from prefine.training.config import RunConfig

if TYPE_CHECKING:
    from prefine.training.blocks import DegreesConfig
    from prefine.training.data import RunData

Row = Mapping[str, Any]

SIDES = ("chosen", "rejected")

DAMAGED = ("damaged_chosen", "damaged_rejected")
"""Roles of the versions of a pair's responses."""


class Versions:
    """Puts one version of each response beside a pair, its degree drawn by the row's seed.

    The seed is new in every epoch, and so are the degrees: 0, the whole response, to `steps`. A
    pair without versions stays as it is, and has no part in the term.

    Args:
        rows: Encoded versions; roles `chosen_0` to `rejected_D`.
        of: For each row of the view of versions, the number of its pair in the view of pairs.
        steps: D.
    """

    def __init__(self, rows: Sequence[Row], of: Sequence[int], steps: int) -> None:
        self.rows, self.steps = rows, steps
        self._places = {of[row["at"]]: place for place, row in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._places)

    def __call__(self, row: Row) -> Row:
        """Return the row with two items more, and `degree`: one number an item, -1 for its own."""
        own = [-1] * len(row["roles"])
        place = self._places.get(row["at"])
        if place is None:
            return {**row, "degree": own}
        rng = random.Random(f"{row['seed']}/{row['at']}")
        degrees = [rng.randint(0, self.steps) for _ in SIDES]
        versions = self.rows[place]
        at = [
            versions["roles"].index(f"{side}_{degree}")
            for side, degree in zip(SIDES, degrees, strict=True)
        ]
        more = {name: [*row[name], *(versions[name][k] for k in at)] for name in PARTS}
        reference = row.get("reference")
        if reference is not None:  # of what a pair compares alone
            more["reference"] = [*reference, *[float("nan")] * len(at)]
        return {**row, **more, "roles": [*row["roles"], *DAMAGED], "degree": [*own, *degrees]}


PARTS = ("prompt", "response", "mask")
"""What an encoded row says of each item."""


def put_versions(data: "RunData", adapter: Any, config: RunConfig) -> None:
    """Put versions of their responses beside the pairs of a run, held-out ones included.

    Which words are keys is counted over the responses that are trained on.

    Raises:
        RecordError: If no pair has key words enough.
    """
    given = config.degrees
    assert given is not None
    rarity = Rarity.among(texts_of(data.train_view))
    versions, short, notes = _versions(data.train_view, rarity, adapter, given, config.seed)
    if not len(versions):
        raise RecordError(
            f"None of {len(data.train_view)} pairs has {given.steps} or more key words in both "
            "responses, so no response can be damaged step by step. Key words stand in fewer "
            f"responses than the median word, which is in {rarity.median} of {rarity.responses}. "
            "Set fewer degrees.steps, or train without the block `degrees`."
        )
    data.train.beside = versions
    data.notes += [
        f"key words stand in fewer than {rarity.median} of {rarity.responses} responses: "
        f"{rarity.share:.0%} of what they say",
        *notes,
    ]
    if short:
        data.notes.append(
            f"{short} of {len(data.train_view)} pairs have a response with fewer than "
            f"{given.steps} key words: they teach the preference alone"
        )
    rows = (data.train[at] for at in range(len(data.train)))
    seen = next((row for row in rows if DAMAGED[0] in row["roles"]), None)
    data.sample = data.sample if seen is None else show(adapter.tokenizer, seen)
    if data.held_out is not None:
        data.held_out.beside, *_ = _versions(
            data.held_out_view, rarity, adapter, given, config.seed
        )


def _versions(
    view: Any, rarity: Rarity, adapter: Any, given: "DegreesConfig", seed: int
) -> tuple[Versions, int, list[str]]:
    """The versions of a view's pairs, how many pairs have too few key words, and what to say."""
    damaged, of = with_damage(
        view, rarity, seed=seed, steps=given.steps, keys=given.keys, filler=given.filler
    )
    short = len(view) - len(of)
    if not of:
        return Versions([], [], given.steps), short, []
    prepared = adapter.prepare(damaged)
    notes = [
        f"{count} pairs have no damaged versions and teach the preference alone: {reason}"
        for reason, count in prepared.set_aside.items()
    ]
    return Versions(prepared.dataset, of, given.steps), short, notes
