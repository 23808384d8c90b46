"""diffusers' side of the picture case: a step as its Diffusion-DPO example takes it.

The example (examples/research_projects/diffusion_dpo/train_diffusion_dpo.py, read at commit
968e857) is a script, so its step is written again here: both pictures of every pair in one batch,
one time and one noise a pair, the reference is the denoiser with its adapters off. What it encodes
anew in every step, pictures and captions, is given to both sides as latents and embeddings.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pace  # pyright: ignore[reportMissingImports]
import picture_world as world  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Train as the case says, a step a turn."""
    given, turns = pace.begin()
    from diffusers.models.unets import unet_2d_condition

    _ = unet_2d_condition  # before the memory of a start is taken
    began = {"imported": pace.age(), "base": turns.meter.held()}
    pace.run(turns, lambda: work(turns, began, **given))


def work(turns: Any, began: dict[str, Any], case: Any, steps: int, folder: str, **_: Any) -> None:
    """Prepare, say so, and do the steps."""
    import torch

    latents, captions = world.make_pairs(case, steps)
    model, scheduler = world.make_model(case).train(), world.make_scheduler()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0, fused=True)
    turns.ready({**began, "owned": world.owned_bytes(model)})
    size = case["prompts"]
    for step in range(steps):
        at = range(step * size, (step + 1) * size)
        loss = pair_loss(model, scheduler, latents, captions, at, case["device"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        if step == 0:
            pace.keep_gradients(model, turns, Path(folder) / f"{case['side']}.safetensors")
        optimizer.step()
        optimizer.zero_grad()
        turns.done({"loss": float(loss.detach())})


def pair_loss(
    model: Any, scheduler: Any, latents: Any, captions: Any, at: range, device: str
) -> Any:
    """Return the mean loss of the pairs whose numbers are given."""
    import torch

    draws = [world.drawn(number, latents[number, 0]) for number in at]
    time = torch.stack([time for time, _ in draws]).repeat(2).to(device)
    noise = torch.stack([noise for _, noise in draws]).repeat(2, 1, 1, 1).to(device)
    told = captions[list(at)].repeat(2, 1, 1).to(device)
    both = torch.cat([latents[list(at), 0], latents[list(at), 1]]).to(device)
    noised = scheduler.add_noise(both, noise, time)

    def worse_by() -> Any:
        found = model(noised, time, told, return_dict=False)[0]
        apart = torch.nn.functional.mse_loss(found.float(), noise.float(), reduction="none")
        chosen, rejected = apart.mean(dim=(1, 2, 3)).chunk(2)
        return chosen - rejected

    ours = worse_by()
    with torch.no_grad(), model.disable_adapter():
        base = worse_by()
    return -torch.nn.functional.logsigmoid(world.BETA * (base - ours)).mean()


if __name__ == "__main__":
    main()
