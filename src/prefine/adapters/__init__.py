"""Adapters: the only code that knows a modality."""

from prefine.adapters.bind import bind
from prefine.adapters.causal_lm import CausalLM
from prefine.adapters.sequence_reward import SequenceReward
from prefine.adapters.simultaneous import SimultaneousLM

__all__ = ["CausalLM", "SequenceReward", "SimultaneousLM", "bind"]
