"""A model that follows instructions a little learns to follow them from its own answers.

World: 300 requests, two instructions that favour four of twelve answers each, a table for every
request and instruction. The model leans towards what an instruction favours, or does not.
Truth: the probability of every answer, and so the mutual information of instruction and answer, and
the probability of what the instruction favours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives.grid import grid_contrast
from prefine.recipes.sami import Grid, sami
from prefine.scores import Scores

REQUESTS, ANSWERS, FAVOURED, LEAN = 300, 12, 4, 0.4
ROUNDS, STEPS, RATE, SAMPLES = 3, 60, 0.02, 4
Prompt = tuple[int, int]
"""A request, and the instruction that it is given with."""


def run(seed: int) -> Metrics:
    """Train a model that leans, one that does not, and one on a single round of samples."""
    found: dict[str, float] = {}
    for arm, lean, rounds in (("", LEAN, ROUNDS), ("/control", 0.0, ROUNDS), ("/once", LEAN, 1)):
        start = drawn(seed, lean)
        end = trained(start, seed, rounds=rounds, steps=STEPS * ROUNDS // rounds)
        found[f"following{arm}"] = following(end) - following(start)
        found[f"information{arm}"] = information(end)
        found[f"information before{arm}"] = information(start)
    return {**found, "following/baseline": 0.0}


def drawn(seed: int, lean: float) -> Tensor:
    """Return [X, 2, N] logits; an instruction adds `lean` to what it favours."""
    generator = torch.Generator().manual_seed(seed)
    shape = (REQUESTS, 1, ANSWERS)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64).repeat(1, 2, 1)
    for instruction in (0, 1):
        logits[:, instruction, favoured(instruction)] += lean
    return logits


def favoured(instruction: int) -> slice:
    """The answers that an instruction asks for."""
    return slice(instruction * FAVOURED, (instruction + 1) * FAVOURED)


def following(logits: Tensor) -> float:
    """Return the mean probability of what the instruction favours."""
    chance = logits.softmax(-1)
    return float(sum(chance[:, i, favoured(i)].sum(-1).mean() for i in (0, 1)) / 2)


def information(logits: Tensor) -> float:
    """Return the mutual information of instruction and answer, nats, averaged over requests."""
    own = logits.log_softmax(-1)
    mixed = own.exp().mean(1, keepdim=True).log()
    return float((own.exp() * (own - mixed)).sum(-1).mean())


def trained(start: Tensor, seed: int, *, rounds: int, steps: int) -> Tensor:
    """Return the logits after some rounds."""
    logits = start.clone().requires_grad_()

    def sample(prompts: Sequence[Prompt], seed: int) -> list[int]:
        chance = logits.detach().softmax(-1)[tuple(torch.tensor(prompts).T)]
        generator = torch.Generator().manual_seed(seed)
        return torch.multinomial(chance, 1, generator=generator).squeeze(1).tolist()

    def fit(grids: Sequence[Grid[Prompt, int]], number: int) -> None:
        request = torch.tensor([grid.prompts[0][0] for grid in grids])
        said = torch.tensor([grid.responses for grid in grids])
        optimizer = torch.optim.Adam([logits], lr=RATE)
        for _ in range(steps):
            cells = logits.log_softmax(-1)[request].gather(2, said[:, None].expand(-1, 2, -1))
            scores = Scores(cells.flatten(1), torch.ones(len(grids), 4))
            optimizer.zero_grad()
            grid_contrast(scores).mean().backward()
            optimizer.step()

    requests = [((x, 0), (x, 1)) for x in range(REQUESTS) for _ in range(SAMPLES)]
    for _ in sami(requests, sample, fit, rounds=rounds, seed=1_000 * seed):
        pass
    return logits.detach()


ENTRY = Entry(
    name="sami",
    numbers=("#89",),
    source="Fränken et al. 2024, arXiv:2404.14313.",
    claim="Contrasting its own answers makes a model follow instructions that it leans towards.",
    world="300 requests under two instructions, each of which favours four of twelve answers.",
    worlds=(),
    baseline="The model as it was.",
    control="The same three rounds on a model that does not lean towards what is favoured.",
    bounds=(
        Bound("following", "gain in probability of what is favoured", at_least=0.02),
        Bound(
            "information", "of instruction and answer, nats, 0.69 at most", at_least=0.1,
            control=False,
        ),
    ),
    run=run,
)  # fmt: skip
