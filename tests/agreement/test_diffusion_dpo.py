"""A step of diffusion DPO equals that of diffusers' own example, loss and gradient.

The example (examples/research_projects/diffusion_dpo/train_diffusion_dpo.py, read at commit
968e857) is a script, so its step is written again here, from what it computes: chosen latents, then
rejected ones; one time and one noise a pair; errors averaged over a picture; the reference is the
model without its adapters. It has no half in front of beta, so its beta is half of ours.
"""

from typing import Any

import numpy as np
import pytest
import torch
from tests.models.test_pictures import CAPTIONS, pictures
from tests.models.tiny_pictures import SIDE, stable_diffusion

from prefine.adapters import bind
from prefine.models.pictures import PictureModel
from prefine.objectives import dpo
from prefine.scores import Needs, gather

pytest.importorskip("diffusers")


def adapted(prediction: str) -> tuple[PictureModel, Any]:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = PictureModel(stable_diffusion(prediction), resolution=SIDE)
    lora = LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], lora_alpha=4)
    policy = get_peft_model(model.denoiser, lora)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model, policy.double().eval()


def example_step(
    policy: Any, scheduler: Any, latents: Any, text: Any, time: Any, noise: Any, beta: float
) -> torch.Tensor:
    both_times, both_noises = time.repeat(2), noise.repeat(2, 1, 1, 1)
    told = text.repeat(2, 1, 1)
    noised = scheduler.add_noise(latents, both_noises, both_times)
    wanted = both_noises
    if scheduler.config.prediction_type == "v_prediction":
        wanted = scheduler.get_velocity(latents, both_noises, both_times)

    def worse_by() -> torch.Tensor:
        apart = (policy(noised, both_times, told, return_dict=False)[0] - wanted) ** 2
        chosen, rejected = apart.mean(dim=(1, 2, 3)).chunk(2)
        return chosen - rejected

    ours = worse_by()
    with torch.no_grad(), policy.disable_adapter():
        base = worse_by()
    return -torch.nn.functional.logsigmoid(beta * (base - ours)).mean()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("beta", [1.0, 200.0])
def test_loss_and_gradient_are_those_of_the_example(prediction: str, beta: float) -> None:
    model, policy = adapted(prediction)
    conditions, latents = model.conditions(CAPTIONS), model.latents(pictures(4)).astype(np.float64)
    rows = [
        {
            "record": str(b), "roles": ["chosen", "rejected"], "seed": 10 + b,
            "sample": list(latents[2 * b : 2 * b + 2]), "condition": [conditions[b]] * 2,
        }
        for b in range(2)
    ]  # fmt: skip
    adapter = model.adapter()
    batch = adapter.collate(rows)
    draw = adapter.draw(batch, policy)
    scored = bind(policy, adapter)(batch=batch, draw=draw, needs=Needs())
    with torch.no_grad(), policy.disable_adapter():
        reference = policy(batch=batch, draw=draw, needs=Needs())
    loss = dpo(gather(batch["index"], scored, reference), beta=2 * beta).mean()
    trained = [p for p in policy.parameters() if p.requires_grad]
    ours = torch.autograd.grad(loss, trained)
    in_order = np.concatenate([latents[::2], latents[1::2]])
    theirs = example_step(
        policy,
        model.pipeline.scheduler,
        torch.from_numpy(in_order),
        torch.stack([torch.from_numpy(one["text"]).double() for one in conditions]),
        draw.tensors["time"][::2, 0],
        draw.tensors["noise"][::2, 0],
        beta,
    )
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-10)
    for mine, other in zip(ours, torch.autograd.grad(theirs, trained), strict=True):
        assert torch.allclose(mine, other, rtol=1e-8, atol=1e-10 * float(other.abs().max()))
