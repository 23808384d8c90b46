"""transformers' side of scoring: one forward pass on a padded batch. Nothing here is prefine's.

At its best: no gradient, no cache of keys, and logits only where a response may stand.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pace  # pyright: ignore[reportMissingImports]
import world  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Score as the case says, a batch a turn."""
    given, turns = pace.begin()
    import transformers

    _ = transformers.Qwen2ForCausalLM  # imported where it is asked for
    began = {"imported": pace.age(), "base": turns.meter.held()}
    pace.run(turns, lambda: work(turns, began, **given))


def work(turns: Any, began: dict[str, Any], case: Any, steps: int, **_: Any) -> None:
    """Prepare, say so, and score the prompts of each step at once."""
    groups, model = world.make_groups(case, steps), world.make_model(case).eval()
    facts = {**began, "owned": world.owned_bytes(case, model)}
    turns.ready(facts)
    for start in range(0, len(groups), case["prompts"]):
        turns.done({"scores": score(model, groups[start : start + case["prompts"]])})


def score(model: Any, groups: list[world.Group]) -> list[float]:
    """Return the log-probability of each response, nats."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    items = [(prompt, response) for prompt, responses in groups for response in responses]
    device = next(model.parameters()).device
    ids = pad_sequence([torch.tensor(p + r) for p, r in items], batch_first=True).to(device)
    mask = pad_sequence([torch.ones(len(p + r)).long() for p, r in items], batch_first=True)
    at = torch.arange(ids.shape[1])
    starts, ends = (torch.tensor(column) for column in zip(*map(borders, items), strict=True))
    first = int(starts.min())
    scored = ((at >= starts[:, None]) & (at < ends[:, None]))[:, first:].to(device)
    with torch.inference_mode():
        kept = torch.arange(first - 1, ids.shape[1] - 1, device=device)
        logits = model(
            input_ids=ids, attention_mask=mask.to(device), logits_to_keep=kept, use_cache=False
        ).logits
        found = logits.float().log_softmax(-1).gather(-1, ids[:, first:, None])[..., 0]
        return found.masked_fill(~scored, 0.0).double().sum(1).tolist()


def borders(item: tuple[list[int], list[int]]) -> tuple[int, int]:
    """Where a response starts and ends."""
    return len(item[0]), len(item[0]) + len(item[1])


if __name__ == "__main__":
    main()
