"""Objectives: pure functions of `Scores`, one loss per row, in nats.

`__all__` is the registry: command line, documentation and contract tests are made from it. Losses
of losses are in `transforms` (what a loss sees) and `combine` (sums, pairs, contrasts).
"""

from prefine.objectives.adaptive import alpha_dpo
from prefine.objectives.coupled import aot
from prefine.objectives.denoising import diffusion_kto, mapo
from prefine.objectives.divergences import f_dpo
from prefine.objectives.edits import salt
from prefine.objectives.graded import exo_reward, info_nca, listwise_nca
from prefine.objectives.levels import margin_dpo, margin_reward
from prefine.objectives.likelihood import poft, sft
from prefine.objectives.listwise import plackett_luce, pro
from prefine.objectives.margins import discopop, exo_preference, hinge, robust_dpo
from prefine.objectives.offsets import (
    clipped_dpo,
    dpop,
    gamma_dpo,
    length_normalised_dpo,
    length_regularised_dpo,
    modpo,
    rpo,
)
from prefine.objectives.pairwise import dpo, ipo
from prefine.objectives.ranked_pairs import lipo, ranklist
from prefine.objectives.reference_free import alphapo, cpo, orpo, simpo, slic_hf
from prefine.objectives.reward import bradley_terry
from prefine.objectives.robust import robust_em
from prefine.objectives.separate import apo_down, apo_zero, nca, sppo
from prefine.objectives.ties import dpo_ties
from prefine.objectives.tokens import ld_dpo, tdpo1, tdpo2, wpo
from prefine.objectives.translation import simul_dpo
from prefine.objectives.unpaired import apo_zero_unpaired, bco, kto
from prefine.objectives.weighted import mm_dpo, reward_weighted, smoothed_dpo

__all__ = [
    "alpha_dpo",
    "alphapo",
    "aot",
    "apo_down",
    "apo_zero",
    "apo_zero_unpaired",
    "bco",
    "bradley_terry",
    "clipped_dpo",
    "cpo",
    "diffusion_kto",
    "discopop",
    "dpo",
    "dpo_ties",
    "dpop",
    "exo_preference",
    "exo_reward",
    "f_dpo",
    "gamma_dpo",
    "hinge",
    "info_nca",
    "ipo",
    "kto",
    "ld_dpo",
    "length_normalised_dpo",
    "length_regularised_dpo",
    "lipo",
    "listwise_nca",
    "mapo",
    "margin_dpo",
    "margin_reward",
    "mm_dpo",
    "modpo",
    "nca",
    "orpo",
    "plackett_luce",
    "poft",
    "pro",
    "ranklist",
    "reward_weighted",
    "robust_dpo",
    "robust_em",
    "rpo",
    "salt",
    "sft",
    "simpo",
    "simul_dpo",
    "slic_hf",
    "smoothed_dpo",
    "sppo",
    "tdpo1",
    "tdpo2",
    "wpo",
]
