"""Responses from a policy."""

from prefine.sampling.beams import BeamSampler, beam_search
from prefine.sampling.language import LanguageSampler
from prefine.sampling.simultaneous import SimultaneousTranslator

__all__ = ["BeamSampler", "LanguageSampler", "SimultaneousTranslator", "beam_search"]
