"""Every world says what is true in it, and means the same by the same verb."""

import importlib
import inspect
import pkgutil
import random
import re
from types import ModuleType
from typing import Any

import pytest
import torch

from prefine.ledger import worlds
from prefine.ledger.worlds import word_domains, words
from prefine.ledger.worlds.annotators import Annotator
from prefine.ledger.worlds.crowd import Crowd
from prefine.ledger.worlds.cycles import Cycle
from prefine.ledger.worlds.games import Game
from prefine.ledger.worlds.graded import Graded
from prefine.ledger.worlds.instructions import Ask
from prefine.ledger.worlds.linear import Linear
from prefine.ledger.worlds.tabular import Tabular

NAMES = sorted(module.name for module in pkgutil.iter_modules(worlds.__path__))
ROW = re.compile(r"^\| `(\w+)` +\| (.+?) +\| (.+?) +\| (.+?) \|$", re.MULTILINE)
TABLE = {name: verbs.split(", ") for name, _, _, verbs in ROW.findall(worlds.__doc__ or "")}
SAYS_SO = {"tiny", "grammar", "annotators"}
"""Parts of the word world, whose truth `words` states."""

PROMPT = "tell me about the bees and the boat ."


def load(name: str) -> ModuleType:
    return importlib.import_module(f"prefine.ledger.worlds.{name}")


def owners(name: str) -> list[Any]:
    """The module, and the classes that it defines."""
    module = load(name)
    classes = [
        thing
        for _, thing in inspect.getmembers(module, inspect.isclass)
        if thing.__module__ == module.__name__
    ]
    return [module, *classes]


def test_the_table_has_every_world_and_no_other() -> None:
    assert sorted(TABLE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_world_states_its_truth(name: str) -> None:
    said = " ".join((load(name).__doc__ or "").split())
    if name not in SAYS_SO:
        assert "truth" in said, f"{name} does not say what is known in it"


@pytest.mark.parametrize("name", NAMES)
def test_a_world_has_the_verbs_that_the_table_gives_it(name: str) -> None:
    for verb in TABLE[name]:
        fields = [getattr(owner, "__dataclass_fields__", {}) for owner in owners(name)]
        found = any(hasattr(owner, verb) for owner in owners(name))
        assert found or any(verb in field for field in fields), f"{name} has no {verb}"


@pytest.mark.parametrize("name", NAMES)
def test_verbs_take_the_same_things(name: str) -> None:
    for owner in owners(name):
        for verb, first in {"drawn": CHANCE, "fit": {"loss"}}.items():
            if callable(method := vars(owner).get(verb)) or isinstance(method, classmethod):
                taken = set(inspect.signature(getattr(owner, verb)).parameters)
                assert taken & first, f"{name}: {verb} takes {sorted(taken)}"


CHANCE = {"seed", "rng", "generator"}


def tables() -> dict[str, torch.Tensor]:
    rng = random.Random(0)
    answers = [words.reference(PROMPT, rng) for _ in range(5)]
    return {
        "tabular": Tabular.drawn(0, prompts=2).better(),
        "crowd": Crowd.drawn(0, prompts=2, responses=4).table.better(),
        "games": Game.drawn(0).better[None],
        "graded": Graded.drawn(0, prompts=2, responses=4, levels=3).better(),
        "cycles": Cycle(flips=0.1).better(PROMPT, answers)[None],
    }


def test_better_is_of_two_sides_everywhere() -> None:
    for name, better in tables().items():
        torch.testing.assert_close(better + better.mT, torch.ones_like(better), msg=name)


def test_gold_is_log_odds_everywhere() -> None:
    rng = random.Random(1)
    ask = Ask.drawn(PROMPT, words.reference(PROMPT, rng), rng)
    for _ in range(20):
        one, other = (words.reference(PROMPT, rng) for _ in range(2))
        for gold, prob_first in (
            (lambda text: words.gold(PROMPT, text), Annotator("a").prob_first),
            (lambda text: word_domains.gold(PROMPT, text), word_domains.Local("a").prob_first),
            (ask.gold, lambda _, *two: ask.prob_first(*two)),
        ):
            odds = torch.tensor(prob_first(PROMPT, one, other), dtype=torch.float64).logit()
            assert float(odds) == pytest.approx(gold(one) - gold(other), abs=1e-6)
    for world in (Tabular.drawn(0), Graded.drawn(0, prompts=2)):
        gold = world.reward if isinstance(world, Tabular) else world.gold
        gap = gold[:, :, None] - gold[:, None, :]
        torch.testing.assert_close(world.better().logit(), gap, rtol=0, atol=1e-6)


def test_a_linear_label_follows_gold() -> None:
    world, generator = Linear.drawn(0), torch.Generator().manual_seed(0)
    pairs = torch.zeros(1, 2, 20, dtype=torch.float64).repeat(40_000, 1, 1)
    pairs[:, 0] = world.taste / world.taste.norm() ** 2  # gold 1 against 0
    kept = world.judged(pairs, generator).features
    share = float((world.gold(kept[:, 0]) > 0.5).double().mean())
    # four standard deviations of 40,000 coin flips are 0.01
    assert share == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.01)
