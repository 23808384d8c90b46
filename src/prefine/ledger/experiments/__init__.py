"""Experiments of the ledger: a module each, or one for several claims that share their code."""

MODULES = (
    "anchors",
    "closed_forms",
    "dominance",
    "dpo",
    "falling",
    "foundations",
    "links",
    "lists",
    "re_po",
    "reference_free",
    "self_play",
    "steerlm",
    "thumbs",
    "tokens",
    "value_drift",
)
"""All of them, in the order in which they are listed."""
