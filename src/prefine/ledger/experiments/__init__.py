"""Experiments of the ledger: a module each, or one for several claims that share their code."""

MODULES = (
    "closed_forms",
    "dpo",
    "easy_pairs",
    "likelihood_signs",
    "logic",
    "modpo",
    "on_policy_negative",
    "online_ipo",
    "online_offline",
    "osp",
    "overoptimisation",
    "poft",
    "ranking",
    "re_po",
)
"""All of them, in the order in which they are listed."""
