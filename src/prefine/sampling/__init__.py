"""Responses from a policy."""

from prefine.sampling.beams import BeamSampler, beam_search
from prefine.sampling.drawing import Drawing, Drawn, draw_responses
from prefine.sampling.language import LanguageSampler
from prefine.sampling.simultaneous import SimultaneousTranslator

__all__ = [
    "BeamSampler",
    "Drawing",
    "Drawn",
    "LanguageSampler",
    "SimultaneousTranslator",
    "beam_search",
    "draw_responses",
]
