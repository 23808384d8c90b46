"""Lists teach more than pairs of them, and which pairs of a list count makes a difference.

World: three. Lists of eight items with 20 features whose order is known through noise, learnt by a
small network (`ranklist`) or by a direction that cannot say all (`lipo`); and lists of five
responses to 40 prompts, learnt by a policy (`pro`).
Truth: the items' true values, by which held-out lists and pairs are judged.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.ledger.worlds.linear import Linear
from prefine.ledger.worlds.tabular import Rows
from prefine.objectives import dpo, lipo, plackett_luce, pro, ranklist
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
SIZE, HELD_OUT = 8, 500
LISTS, NOISE, WIDTH, REPEATS, RANKLIST_STEPS = 60, 1.0, 16, 3, 100
LIPO_LISTS, LIPO_NOISE, TOP, LIPO_STEPS = 400, 0.5, 3, 200
PRO_LISTS, PRO_SIZE, PAIRS = 60, 5, 2_000


def best_first(features: Tensor, value: Tensor) -> Tensor:
    """Return features [B, K, D] in the order of values [B, K], the highest first."""
    order = value.argsort(1, descending=True)
    return features.gather(1, order[..., None].expand_as(features))


def best_and_worst(scores: Scores) -> Tensor:
    """Return the loss of `dpo` on the two ends of each list."""
    ends = torch.tensor([[0, scores.policy.shape[1] - 1]]).expand(len(scores.policy), 2)
    return dpo(scores.take(ends), beta=1.0)


def learnt(
    loss: Loss, score: Callable[[Tensor, Tensor], Tensor], start: Tensor, lists: Tensor, steps: int
) -> Tensor:
    """Return the parameters that a loss finds from lists [B, K, D], best first.

    Args:
        loss: An objective; it reads grades of 4 for the best of a list to 0 for the worst.
        score: Returns [B, K] scores of features with parameters.
        start: Parameters to begin from.
        lists: Features, in the order in which people put them.
        steps: Optimizer steps.
    """
    grades = torch.linspace(4, 0, lists.shape[1], dtype=lists.dtype)

    def scores(parameters: Tensor, at: Tensor) -> Scores:
        policy = score(parameters, lists[at])
        return Scores(
            policy, torch.ones_like(policy), reference=torch.zeros_like(policy),
            utility=grades.expand_as(policy),
        )  # fmt: skip

    return descend(loss, scores, start, len(lists), steps=steps, rate=0.02)


def network(parameters: Tensor, features: Tensor) -> Tensor:
    """Return [B, K] what a network of one hidden layer makes of features [B, K, D]."""
    size = features.shape[-1]
    inner, bias, outer = parameters.split([size * WIDTH, WIDTH, WIDTH])
    return torch.tanh(features @ inner.view(size, WIDTH) + bias) @ outer


def a_network(size: int, generator: torch.Generator) -> Tensor:
    """Draw the parameters of `network`."""
    inner, outer = (
        torch.randn(count * WIDTH, generator=generator, dtype=torch.float64) / width**0.5
        for count, width in ((size, size), (1, WIDTH))
    )
    return torch.cat([inner, torch.zeros(WIDTH, dtype=torch.float64), outer])


def kendall(one: Tensor, other: Tensor) -> float:
    """Return how far two scorings [B, K] order lists alike: 1 entirely, -1 the other way round."""
    pairs = [values[:, :, None] - values[:, None, :] for values in (one, other)]
    count = one.shape[1] * (one.shape[1] - 1)
    return float((pairs[0] * pairs[1]).sign().sum((1, 2)).mean()) / count


def at_the_top(score: Tensor, value: Tensor) -> float:
    """Return the NDCG of the first places, from scores [B, K] and true values [B, K]."""
    places = value.argsort(1).argsort(1).to(score)
    gain = torch.exp2(4 * places / (value.shape[1] - 1)) - 1
    discount = torch.arange(2, TOP + 2, dtype=score.dtype).log2()

    def discounted(by: Tensor) -> Tensor:
        return (gain.gather(1, by.argsort(1, descending=True)[:, :TOP]) / discount).sum(1)

    return float((discounted(score) / discounted(value)).mean())


def run_ranklist(seed: int) -> Metrics:
    """Learn orders with a network, a few times over so that the draw of lists counts less."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    arms: dict[str, Loss] = {
        "": partial(ranklist, beta=1.0),
        "/control": partial(ranklist, beta=1.0, max_skip=1),
        "/baseline": partial(plackett_luce, beta=1.0),
        "/one logarithm": partial(ranklist, beta=1.0, one_log=True),
    }
    total = dict.fromkeys(arms, 0.0)
    for _ in range(REPEATS):
        world = Linear.drawn(int(torch.randint(10**6, (), generator=generator)))
        seen = world.responses(LISTS, generator, k=SIZE)
        noise = torch.randn(LISTS, SIZE, generator=generator, dtype=seen.dtype)
        lists = best_first(seen, world.gold(seen) + NOISE * noise)
        held_out = world.responses(HELD_OUT, generator, k=SIZE)
        start = a_network(len(world.taste), generator)
        for arm, loss in arms.items():
            found = learnt(loss, network, start, lists, RANKLIST_STEPS)
            total[arm] += kendall(network(found, held_out), world.gold(held_out)) / REPEATS
    above = {f"gain{arm}": tau - total["/baseline"] for arm, tau in total.items()}
    above.pop("gain/baseline")
    return {**above, **{f"tau{arm}": tau for arm, tau in total.items()}}


def run_lipo(seed: int) -> Metrics:
    """Learn a direction where the best items are good for another reason than the rest."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    size = len(Linear.drawn(seed).taste)
    both = torch.randn(size, 2, generator=generator, dtype=torch.float64)
    plain, rare = torch.linalg.qr(both).Q.unbind(1)

    def drawn(count: int) -> tuple[Tensor, Tensor]:
        features = torch.randn(count, SIZE, size, generator=generator, dtype=torch.float64)
        return features, features @ plain + 3 * (features @ rare - 0.5).relu()

    seen, value = drawn(LIPO_LISTS)
    noise = torch.randn(LIPO_LISTS, SIZE, generator=generator, dtype=seen.dtype)
    lists, (held_out, truth) = best_first(seen, value + LIPO_NOISE * noise), drawn(HELD_OUT)
    arms: dict[str, Loss] = {
        "": partial(lipo, beta=1.0),
        "/control": partial(ranklist, beta=1.0),
        "/baseline": partial(plackett_luce, beta=1.0),
        "/ends": best_and_worst,
    }
    score: dict[str, Tensor] = {
        arm: held_out @ learnt(loss, direction, torch.zeros_like(plain), lists, LIPO_STEPS)
        for arm, loss in arms.items()
    }
    top = {arm: at_the_top(values, truth) for arm, values in score.items()}
    return {
        **{f"gain{arm}": top[arm] - top["/baseline"] for arm in ("", "/control", "/ends")},
        **{f"top{arm}": value for arm, value in top.items()},
        **{f"tau{arm}": kendall(values, truth) for arm, values in score.items()},
    }


def direction(parameters: Tensor, features: Tensor) -> Tensor:
    """Return [B, K] the products of features with parameters [D]."""
    return features @ parameters


def run_pro(seed: int) -> Metrics:
    """Learn from lists of five, from two of each, and from lists that know their best alone."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    lists = world.table.some_lists(PRO_LISTS, PRO_SIZE, generator)
    lists = replace(lists, fields={"utility": lists.fields["utility"].sigmoid()})
    lists = replace(lists, fields={"utility": lists.fields["utility"].sort(1).values.flip(1)})
    held_out = world.table.some_pairs(PAIRS, generator)
    shuffled = 1 + torch.rand(PRO_LISTS, PRO_SIZE - 1, generator=generator).argsort(1)
    best_alone = torch.cat([torch.zeros(PRO_LISTS, 1, dtype=torch.long), shuffled], 1)
    two = torch.rand(PRO_LISTS, PRO_SIZE, generator=generator).argsort(1)[:, :2].sort(1).values
    arms = {
        "": world.fit(pro, lists, **PRO_HOW),
        "/control": world.fit(
            pro, replace(lists, response=lists.response.gather(1, best_alone)), **PRO_HOW
        ),
        "/baseline": world.fit(pro, some(lists, two), **PRO_HOW),
        "/equal heat": world.fit(partial(pro, graded=False), lists, **PRO_HOW),
        "/ends": world.fit(pro, some(lists, ENDS.expand(PRO_LISTS, 2)), **PRO_HOW),
    }
    right: dict[str, float] = {}
    for arm, policy in arms.items():
        first, second = world.moved(policy, held_out).unbind(1)
        right[arm] = float((first > second).double().mean())
    return {
        **{f"gain{arm}": right[arm] - right["/baseline"] for arm in ("", "/control", "/ends")},
        "heat": right[""] - right["/equal heat"],
        "heat/control": right["/control"] - right["/equal heat"],
        **{f"accuracy{arm}": share for arm, share in right.items()},
    }


ENDS = torch.tensor([[0, PRO_SIZE - 1]])
PRO_HOW = {"steps": 200, "rate": 0.03}


def some(lists: Rows, at: Tensor) -> Rows:
    """Return some places [B, K'] of lists, with their utilities."""
    return replace(
        lists,
        response=lists.response.gather(1, at),
        fields={"utility": lists.fields["utility"].gather(1, at)},
    )


ENTRIES = (
    Entry(
        name="ranklist",
        numbers=("#50",),
        source="RankList, arXiv:2508.09826, by its description.",
        claim="Every pair of a list orders new lists better than neighbours, and than the chain.",
        world="60 lists of eight items with 20 features, ordered through noise; a small network.",
        worlds=("linear",),
        baseline="`plackett_luce`, the likelihood of the whole chain, from which gains are told.",
        control="The same loss on neighbours alone.",
        bounds=(Bound("gain", "Kendall's tau on new lists, above the chain", at_least=0.0),),
        run=run_ranklist,
    ),
    Entry(
        name="lipo",
        source="Liu et al. 2024, arXiv:2402.01878, equation 8.",
        claim="Pairs weighted by what a swap does to the top of the list get its top right.",
        world="400 lists of eight items; the best are good for a reason that a line cannot say.",
        worlds=("linear",),
        baseline="`plackett_luce`, the likelihood of the whole chain, from which gains are told.",
        control="Every pair alike, which is `ranklist`.",
        bounds=(Bound("gain", "NDCG of the first three places, above the chain", at_least=0.01),),
        run=run_lipo,
    ),
    Entry(
        name="pro",
        numbers=("#65",),
        source="Song et al. 2023, arXiv:2306.17492, equations 5 to 7.",
        claim="Longer lists teach more, and differences of rewards as temperatures help.",
        world="60 lists of five, of 40 prompts with 32 responses that share 12 features.",
        worlds=("crowd", "tabular"),
        baseline="The same loss on two of each five, from whose accuracy gains are told.",
        control="The same lists with their best in front and the rest in any order.",
        bounds=(
            Bound("gain", "share of new pairs ordered right, above pairs", at_least=0.01),
            Bound("heat", "the same, above equal temperatures", at_least=0.001),
        ),
        run=run_pro,
        tried=(
            "150 lists as well as 60. Five responses teach more than two, but nearly as much when "
            "only the best of them is known, and the two ends of a list as much as all of it: what "
            "helps is to imitate the best of five. The likelihood term is 16 times as strong for "
            "five as for two and is most of the loss. Temperatures change nothing that shows."
        ),
    ),
)
