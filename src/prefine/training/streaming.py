"""Runs that train a translator which reads and writes in turn."""

from dataclasses import fields
from typing import Any

import torch

from prefine.adapters.simultaneous import SimultaneousLM, StreamingLM
from prefine.errors import ConfigError
from prefine.objectives.declare import Spec
from prefine.training.config import RunConfig

OF_ACTIONS = "action_log_prob"


def refuse_streaming(config: RunConfig, declared: Spec, name: str) -> None:
    """Refuse what trajectories have no meaning for, and actions that nothing tells.

    Args:
        config: The run.
        declared: What the objective consumes.
        name: Its name, or "a picture model".

    Raises:
        ConfigError: Saying what to do.
    """
    asks = OF_ACTIONS in declared.needs.elements
    if config.streaming is None:
        if asks:
            raise ConfigError(
                f"{name} compares when a translator reads and writes, so it must know the token "
                "that asks to read. Set streaming.read, or take the preset simulpl; the data are "
                "trajectories, which prefine curate streams makes."
            )
        return
    if name == "a picture model" or declared.unit == "reward":
        raise ConfigError(
            f"streaming trains a policy that reads and writes words, which {name} is not. Remove "
            "the block."
        )
    adds = {
        "rationale": config.rationale, "degrees": config.degrees,
        "rows.instructions": config.rows.instructions,
    }  # fmt: skip
    for other, given in adds.items():
        if given:
            raise ConfigError(
                f"streaming and {other}: what that adds is no trajectory. Remove one of the two."
            )


def learns_read(config: RunConfig, name: str, tokenizer: Any) -> bool:
    """Add the token that asks to read where it is to be learnt, and return whether it was added.

    Imitation learns words and actions, so `sft` may start from a model that never read; other
    objectives would push an untrained token about.

    Args:
        config: The run.
        name: Of the objective.
        tokenizer: Of its model.

    Raises:
        ConfigError: If adapters alone are trained, which hold no row for a new token.
    """
    if config.streaming is None or name != "sft":
        return False
    added = add_read(tokenizer, config.streaming.read)
    if added and config.lora is not None:
        raise ConfigError(
            f"streaming and lora: {config.streaming.read} is new to this model, and adapters can "
            "neither learn nor save its row. Remove lora for this stage; later ones may have it."
        )
    return added


def for_trajectories(adapter: Any, config: RunConfig, declared: Spec) -> Any:
    """Return the adapter of trajectories in place of that of texts, where that is asked for.

    Args:
        adapter: A `CausalLM`.
        config: The run.
        declared: What the objective consumes: whole trajectories, unless it asks for actions.
    """
    if config.streaming is None:
        return adapter
    kind = SimultaneousLM if OF_ACTIONS in declared.needs.elements else StreamingLM
    given = {f.name: getattr(adapter, f.name) for f in fields(adapter)}
    found = kind(**given, read=config.streaming.read)
    assert found.read_id >= 0  # raises where the tokenizer lacks the token
    return found


def add_read(tokenizer: Any, read: str) -> bool:
    """Make a text one token of a tokenizer; return whether it was not yet.

    Args:
        tokenizer: A transformers tokenizer.
        read: The text.
    """
    from tokenizers import AddedToken

    ids = tokenizer(read, add_special_tokens=False)["input_ids"]
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return False
    token = AddedToken(read, special=True, normalized=False)
    return tokenizer.add_tokens([token], special_tokens=True) > 0


@torch.no_grad()
def make_room(model: Any, tokenizer: Any) -> str:
    """Give the newest token a row in both ends of a model: the mean of the others.

    Args:
        model: A transformers language model; its vocabulary grows where it must.
        tokenizer: To which the token was added.

    Returns:
        A sentence for the run's header.
    """
    at = max(tokenizer.get_vocab().values())
    if at >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(at + 1, mean_resizing=False)
    for end in (model.get_input_embeddings(), model.get_output_embeddings()):
        end.weight[at] = end.weight[:at].mean(0)
        bias = getattr(end, "bias", None)
        if bias is not None:
            bias[at] = bias[:at].mean()
    token = tokenizer.convert_ids_to_tokens(at)
    return f"{token} is a new token of the model, which starts as the mean of the others"
