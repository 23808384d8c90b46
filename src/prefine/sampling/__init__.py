"""Responses from a policy."""

from prefine.sampling.language import LanguageSampler

__all__ = ["LanguageSampler"]
