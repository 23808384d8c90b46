"""Responses from a policy."""

from prefine.sampling.beams import BeamSampler, beam_search
from prefine.sampling.language import LanguageSampler

__all__ = ["BeamSampler", "LanguageSampler", "beam_search"]
