"""Responses from a policy."""

from prefine.sampling.beams import BeamSampler, beam_search
from prefine.sampling.drawing import Drawing, Drawn, draw_responses
from prefine.sampling.language import LanguageSampler

__all__ = [
    "BeamSampler",
    "Drawing",
    "Drawn",
    "LanguageSampler",
    "beam_search",
    "draw_responses",
]
