"""Experiments of the ledger: a module each, or one for several claims that share their code."""

MODULES = (
    "anchors",
    "closed_forms",
    "dominance",
    "dpo",
    "falling",
    "foundations",
    "from_pictures",
    "links",
    "lists",
    "re_po",
    "reference_free",
    "self_play",
    "thumbs",
    "tokens",
)
"""All of them, in the order in which they are listed."""
