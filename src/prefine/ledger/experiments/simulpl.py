"""Read on where it helps, write where it does not: quality and delay in one loss.

World: sources of eight tokens of ten types. A token of an easy type is translated by itself; one of
a hard type only together with the next. A translator writes at once or reads one token more, by a
head that sees the type; the reference mostly reads on. Two of its trajectories for each of 1,000
sources are judged by how many words are right.
Truth: delay and accuracy of a policy are sums over types.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives.translation import simul_dpo
from prefine.scores import Scores

TYPES, HARD, LONG, PAIRS, STRICT = 10, 2, 8, 1_000, 2.0
WRITES_AT_ONCE, KNOWS = 0.3, 0.8
STEPS, RATE, BETA, PRICE = 200, 0.05, 0.1, 1.5
HEAD, BLIND = TYPES, TYPES * TYPES
"""Sizes of two parts of the parameters: the head, and what is written before the next token is
known. The rest is what is written after."""


def right() -> Tensor:
    """Return [N, N] what is right for a token and the next: hard types are the first."""
    token = torch.arange(TYPES)[:, None]
    return torch.where(token < HARD, (token + torch.arange(TYPES)) % TYPES, token)


def reference() -> Tensor:
    """Return the parameters of a translator that knows what can be known, most of the time."""
    known = torch.full((TYPES, TYPES, TYPES), (1 - KNOWS) / (TYPES - 1), dtype=torch.float64)
    known.scatter_(2, right()[..., None], KNOWS)
    head = torch.full((HEAD,), WRITES_AT_ONCE, dtype=torch.float64).logit()
    return torch.cat([head, known.mean(1).log().flatten(), known.log().flatten()])


def parts(found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the head's logits [N], and log-probabilities unseen [N, N] and seen [N, N, N]."""
    head, blind, seen = found.split([HEAD, BLIND, len(found) - HEAD - BLIND])
    return (
        head,
        blind.view(TYPES, TYPES).log_softmax(-1),
        seen.view(TYPES, TYPES, TYPES).log_softmax(-1),
    )


def measured(found: Tensor) -> tuple[float, float]:
    """Return the average lag, tokens, and the share of words that are right."""
    head, blind, seen = parts(found)
    at_once = head.sigmoid()
    unseen = blind.exp().gather(1, right()).mean(1)
    known = seen.exp().gather(2, right()[..., None]).squeeze(2).mean(1)
    accuracy = at_once * unseen + (1 - at_once) * known
    return float(2 - at_once.mean()), float(accuracy.mean())


@dataclass(frozen=True)
class Judged:
    """Trajectories of the reference, the better of each pair first.

    Attributes:
        now: [B, 2, T] the token that each word translates.
        following: [B, 2, T] the one after it.
        early: [B, 2, T] whether the word was written before that one was read.
        said: [B, 2, T] the words.
    """

    now: Tensor
    following: Tensor
    early: Tensor
    said: Tensor

    @classmethod
    def drawn(cls, seed: int, start: Tensor) -> "Judged":
        """Draw sources, two trajectories of each, and which of them has more right words."""
        generator = torch.Generator().manual_seed(seed)
        source = torch.randint(TYPES, (PAIRS, 1, LONG + 1), generator=generator).expand(-1, 2, -1)
        now, following = source[..., :-1], source[..., 1:]
        head, blind, seen = parts(start)
        early = torch.rand(now.shape, generator=generator) < head.sigmoid()[now]
        chance = torch.where(early[..., None], blind[now], seen[now, following]).exp()
        said = torch.multinomial(chance.flatten(0, 2), 1, generator=generator).view(now.shape)
        good = (said == right()[now, following]).double().sum(2)
        wins = torch.sigmoid(STRICT * (good[:, 0] - good[:, 1]))
        first = torch.rand(PAIRS, generator=generator, dtype=torch.float64) < wins
        order = torch.where(first[:, None], torch.tensor([0, 1]), torch.tensor([1, 0]))
        rows = torch.arange(PAIRS)[:, None]
        return cls(now, following, early[rows, order], said[rows, order])

    def heads(self, found: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return [B, 2, T] log-probabilities of words and of actions, and the expected delay."""
        head, blind, seen = parts(found)
        token, early = self.now[at], self.early[at]
        logits = head[token]
        action = torch.where(early, logits, -logits).sigmoid().log()
        written = torch.where(early[..., None], blind[token], seen[token, self.following[at]])
        words = written.gather(3, self.said[at, :, :, None]).squeeze(3)
        delay = (torch.arange(1, LONG + 1) + 1 - logits.sigmoid()) / (LONG + 1)
        return words, action, delay


def run(seed: int) -> Metrics:
    """Train with both heads and the delay, without the delay, and with the actions left out."""
    start = reference()
    pairs = Judged.drawn(seed, start)

    def scores(found: Tensor, at: Tensor) -> Scores:
        (own, action, delay), (base, base_action, _) = (
            pairs.heads(each, at) for each in (found, start)
        )
        return Scores(
            own.sum(2), torch.full_like(own[..., 0], LONG), reference=base.sum(2),
            elements={
                "mask": torch.ones_like(own, dtype=torch.bool), "delay": delay,
                "action_log_prob": action, "reference_action_log_prob": base_action,
            },
        )  # fmt: skip

    how: dict[str, Any] = {"steps": STEPS, "rate": RATE, "seed": seed}
    arms = {
        "": {"delay_weight": PRICE}, "/no price": {"delay_weight": 0.0},
        "/no actions": {"delay_weight": PRICE, "action_weight": 0.0},
    }  # fmt: skip
    before, known = measured(start)
    lag, share = {"/baseline": before}, {"/baseline": known}
    for arm, options in arms.items():
        loss = partial(simul_dpo, beta=BETA, **options)
        lag[arm], share[arm] = measured(descend(loss, scores, start, PAIRS, **how))
    return {
        "lag saved": 1 - lag[""] / before,
        "lag saved/control": 1 - lag["/no price"] / before,
        "accuracy kept": share[""] - share["/no price"],
        "accuracy kept/control": share["/no actions"] - share["/no price"],
        **{f"lag{arm}": value for arm, value in lag.items()},
        **{f"right{arm}": value for arm, value in share.items()},
    }


ENTRY = Entry(
    name="simul_dpo",
    numbers=("#106",),
    source="SimulPL, arXiv:2502.00634; the loss is inferred.",
    claim="A price on delay makes a translator write earlier, and actions in the score keep it "
    "reading where quality needs it.",
    world="1,000 sources of eight tokens, of which one in five needs the next to be translated.",
    worlds=(),
    baseline="The reference.",
    control="For the lag: no price on delay. For the accuracy: actions left out of the score.",
    bounds=(
        Bound("lag saved", "share of the reference's average lag", at_least=0.2),
        Bound(
            "accuracy kept", "share of right words, above the same without a price", at_least=-0.02
        ),
    ),
    run=run,
)
