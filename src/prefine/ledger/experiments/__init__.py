"""Experiments of the ledger: a module each, or one for several claims that share their code."""

__all__ = [
    "closed_forms",
    "dpo",
]
