"""A policy that preferences made knows what each token is worth, and can be searched by it.

World: 30 prompts with all 81 responses of four tokens, DPO on every pair with its exact weight; and
sentences of 12 words under a table of what follows what, where a rejected one is the chosen one
with one word replaced by one of two bad ones.
Truth: the value of every beginning, by recursion from the rewards at the end; the replaced place;
and the gold reward of what a search finds.
"""

from functools import partial

import torch
from torch import Tensor

from prefine.evaluation import token_credit
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows
from prefine.ledger.worlds.trees import Tree
from prefine.objectives import dpo
from prefine.sampling import beam_search
from prefine.scores import Scores

PROMPTS, BETA, BEAMS = 30, 3.0, 5
FOLLOWED, RATE = 50, 0.05
WORDS, GOOD, LONG, SHARP, PAIRS = 8, 6, 12, 1.5, 500


def run(seed: int) -> Metrics:
    """Read credits, search, and follow what the reference writes."""
    tree = Tree.drawn(seed, prompts=PROMPTS)
    table = tree.table
    rows = table.every_pair()
    policy = table.fit(partial(dpo, beta=BETA), rows)
    own, base = (tree.steps(values).numpy() for values in (policy, table.reference))
    true = tree.gains(BETA).numpy()
    return {
        "error": abs(token_credit(own, base, beta=BETA) - true).max(),
        "error/control": abs(token_credit(own, 0 * own, beta=BETA) - true).max(),
        "error/baseline": abs(true).max(),
        "win rate": win_rate(tree, policy),
        "win rate/control": win_rate(tree, table.reference),
        **decline(tree, rows, seed),
        **replaced_words(seed),
    }


def win_rate(tree: Tree, policy: Tensor) -> float:
    """How often people prefer what beams find to what is found greedily."""
    ids = torch.arange(PROMPTS)[:, None] + tree.tokens
    reward: list[Tensor] = []
    for beams in (1, BEAMS):
        found, _ = beam_search(
            tree.model(policy), ids, torch.ones_like(ids), beams=beams,
            max_new_tokens=tree.length, length_penalty=0.0,
        )  # fmt: skip
        reward.append(tree.table.reward.gather(1, tree.responses(found)[:, None]))
    return float(torch.sigmoid(reward[1] - reward[0]).mean())


def decline(tree: Tree, rows: Rows, seed: int) -> Metrics:
    """The highest mean log-ratio, over steps, of what each of two writers writes."""
    table = tree.table
    seen: dict[str, list[float]] = {"log-ratio": [], "log-ratio/control": []}

    def follow(step: int, logits: Tensor) -> None:
        policy = logits.log_softmax(-1)
        ratio = policy - table.reference
        for name, writer in zip(seen, (table.reference, policy), strict=True):
            seen[name].append(float((writer.exp() * ratio).sum(-1).mean()))

    descend(
        partial(dpo, beta=BETA),
        lambda logits, at: table.scores(logits.log_softmax(-1), rows.take(at)),
        table.reference, len(rows), steps=FOLLOWED, rate=RATE, seed=seed, on_step=follow,
    )  # fmt: skip
    return {name: max(values) for name, values in seen.items()}


def replaced_words(seed: int) -> Metrics:
    """How often the lowest credit is at the replaced word or at the next."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    shape = (WORDS + 1, WORDS)
    reference = SHARP * torch.randn(shape, generator=generator, dtype=torch.float64)
    seen, _ = pairs(reference, generator)
    held_out, at = pairs(reference, generator)

    def scores(logits: Tensor, rows: Tensor) -> Scores:
        own, base = (steps(table, seen[rows]).sum(-1) for table in (logits, reference))
        return Scores(own, torch.full_like(own, LONG), reference=base)

    policy = descend(
        partial(dpo, beta=0.1), scores, reference, PAIRS, steps=30, rate=0.02, seed=seed
    )
    own, base = (steps(table, held_out[:, 1]).numpy() for table in (policy, reference))

    def located(credit: Tensor) -> float:
        lowest = credit.argmin(1)
        return float(((lowest == at) | (lowest == at + 1)).double().mean())

    return {
        "located": located(torch.from_numpy(token_credit(own, base, beta=0.1))),
        "located/control": located(torch.from_numpy(own)),
        "located/baseline": located(torch.from_numpy(base)),
    }


def pairs(reference: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return [N, 2, T] sentences, good and with one bad word, and [N] where that is."""
    chance = reference.clone()
    chance[:, GOOD:] = -torch.inf
    said = [torch.full((PAIRS,), WORDS)]
    for _ in range(LONG):
        following = chance.softmax(-1)[said[-1]]
        said.append(torch.multinomial(following, 1, generator=generator).squeeze(1))
    good = torch.stack(said[1:], 1)
    at = torch.randint(LONG, (PAIRS,), generator=generator)
    bad = good.clone()
    bad[torch.arange(PAIRS), at] = torch.randint(GOOD, WORDS, (PAIRS,), generator=generator)
    return torch.stack([good, bad], 1), at


def steps(logits: Tensor, words: Tensor) -> Tensor:
    """Return [..., T] the log-probability of each word after the one before it."""
    start = torch.full_like(words[..., :1], WORDS)
    return logits.log_softmax(-1)[torch.cat([start, words[..., :-1]], -1), words]


ENTRY = Entry(
    name="token_credit",
    numbers=("#80",),
    source="Rafailov et al. 2024, arXiv:2404.12358, sections 4.2, 5.1 to 5.3.",
    claim="Beta times a token's log-ratio is its advantage: it finds the wrong word, guides a "
    "search, and falls on what the reference writes.",
    world="30 prompts with 81 responses of four tokens, all pairs; sentences with a bad word.",
    worlds=("tabular", "trees"),
    baseline="For the error: no credit. For the bad word: how likely the reference finds a word.",
    control="The policy alone, without the reference. For the search: the reference searched. For "
    "the decline: what the policy writes.",
    bounds=(
        Bound("error", "largest distance to a token's gain of value, reward", at_most=0.01),
        Bound("located", "pairs with the lowest credit at the bad word or the next", at_least=0.9),
        Bound("win rate", "of what five beams find, against greedy, by gold reward", at_least=0.55),
        Bound("log-ratio", "highest mean over steps, of the reference's responses", at_most=0.0),
    ),
    run=run,
)
