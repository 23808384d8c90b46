"""Models: loading policies and reward models, scoring with them, letting them leave the house."""

from prefine.models.export import Exported, export_model
from prefine.models.load import load_policy, load_reward_model, load_tokenizer
from prefine.models.reward import RewardModel
from prefine.models.score import score_rows
from prefine.models.token_scores import score_tokens, scored_ids

__all__ = [
    "Exported",
    "RewardModel",
    "export_model",
    "load_policy",
    "load_reward_model",
    "load_tokenizer",
    "score_rows",
    "score_tokens",
    "scored_ids",
]
