"""Experiments of the ledger: a module each, or one for several claims that share their code."""

MODULES = (
    "closed_forms",
    "dpo",
    "re_po",
    "steerlm",
    "value_drift",
)
"""All of them, in the order in which they are listed."""
