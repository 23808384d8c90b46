"""Peers' loss code, called on tensors of our own: no model, no tokenizer, no data set."""

import warnings
from collections import defaultdict
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor


class Outputs(SimpleNamespace):
    """What TRL's patched forward returns: log-probabilities of the response's tokens, else 0."""

    def __init__(self, log_probs: Tensor, log_sum_sq_probs: Tensor | None = None) -> None:
        zeros = torch.zeros_like(log_probs)
        super().__init__(
            log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(),
            log_sum_sq_probs=zeros if log_sum_sq_probs is None else log_sum_sq_probs,
        )  # fmt: skip


def stand_in(**settings: Any) -> Any:
    """Return what TRL's loss functions read of a trainer, on one process."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
    )
    defaults = {
        "model": SimpleNamespace(training=True),
        "accelerator": accelerator,
        "args": SimpleNamespace(center_rewards_coefficient=None),
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "beta": 0.1,
        "label_smoothing": 0.0,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**{**defaults, **settings})


@pytest.fixture(scope="session")
def trl() -> Any:
    """Return TRL's trainers; importing them warns of its experimental parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import DPOTrainer, KTOTrainer, RewardTrainer
        from trl.experimental.cpo import CPOTrainer
    return SimpleNamespace(dpo=DPOTrainer, kto=KTOTrainer, reward=RewardTrainer, cpo=CPOTrainer)


@pytest.fixture(scope="session")
def trl_dpo(trl: Any) -> Any:
    """Return `loss(tokens, mask, reference, loss_type, **settings)`: TRL's DPO loss, a mean.

    `tokens` [2, B, T] log-probabilities of chosen and rejected tokens, `mask` [2, B, T + 1] marks
    the response among the input's tokens, whose first is never scored; `reference` [2, B], or
    [2, B, T] as `tokens`. `collision` [2, B, T] holds log sum of squared probabilities.
    """

    def loss(
        tokens: Tensor, mask: Tensor, reference: Tensor, loss_type: str,
        collision: Tensor | None = None, **settings: Any,
    ) -> Tensor:  # fmt: skip
        plain = {"ld_alpha": None, "use_weighting": False, "f_divergence_type": "reverse_kl"}
        trainer = stand_in(loss_types=[loss_type], loss_weights=[1.0], **{**plain, **settings})
        if reference.ndim == 3:
            trainer.precompute_ref_logps = False
            trainer.args.gradient_checkpointing_kwargs = None
            ref_outputs = Outputs(reference.flatten(0, 1))
            trainer.ref_model = lambda **_: ref_outputs
            trainer.model = torch.nn.Module()  # looked at for adapters and checkpointing
            trainer.model.is_gradient_checkpointing = False
            reference = reference.sum(-1)
        inputs = {
            "input_ids": torch.ones(mask.flatten(0, 1).shape, dtype=torch.long),
            "attention_mask": torch.ones(mask.flatten(0, 1).shape, dtype=torch.long),
            "completion_mask": mask.flatten(0, 1),
            "ref_chosen_logps": reference[0],
            "ref_rejected_logps": reference[1],
        }
        outputs = Outputs(
            tokens.flatten(0, 1), None if collision is None else collision.flatten(0, 1)
        )
        return trl.dpo._compute_loss(trainer, lambda **_: outputs, inputs, False)

    return loss


@pytest.fixture(scope="session")
def trl_kto(trl: Any) -> Any:
    """Return `loss(policy, reference, label, mismatched, **settings)`: TRL's KTO loss, a mean.

    All [B]; `mismatched` holds log-ratios. One token a response.
    """

    def loss(
        policy: Tensor, reference: Tensor, label: Tensor, mismatched: Tensor, **settings: Any
    ) -> Tensor:
        plain = {"desirable_weight": 1.0, "undesirable_weight": 1.0, "loss_type": "kto"}
        trainer = stand_in(calculate_KL=True, **{**plain, **settings})
        trainer._compute_kl_logps = MethodType(trl.kto._compute_kl_logps, trainer)
        rows = torch.ones(len(policy), 2, dtype=torch.long)
        inputs = {
            "input_ids": rows, "attention_mask": rows, "completion_mask": rows * 1,
            "KL_input_ids": rows + 1, "KL_attention_mask": rows, "KL_completion_mask": rows,
            "label": label, "ref_logps": reference, "ref_KL_logps": torch.zeros_like(mismatched),
        }  # fmt: skip

        def model(input_ids: Tensor, **_: Any) -> Outputs:
            return Outputs((policy if input_ids[0, 0] == 1 else mismatched)[:, None])

        return trl.kto._compute_loss(trainer, model, inputs, False)

    return loss


@pytest.fixture(scope="session")
def trl_reward(trl: Any) -> Any:
    """Return `loss(rewards, margin=None, centre=None)`: TRL's reward loss of [B, 2], a mean."""

    def loss(rewards: Tensor, margin: Tensor | None = None, centre: float | None = None) -> Tensor:
        trainer = stand_in(args=SimpleNamespace(center_rewards_coefficient=centre))
        inputs = {"attention_mask": torch.ones(1)} | ({} if margin is None else {"margin": margin})
        outputs = SimpleNamespace(logits=rewards.T.reshape(-1, 1))
        return trl.reward.compute_loss(trainer, lambda **_: outputs, inputs)

    return loss


@pytest.fixture(scope="session")
def trl_simpo(trl: Any) -> Any:
    """Return `loss(means, beta, gamma, label_smoothing=0.0)`: TRL's SimPO losses [B]."""

    def loss(means: Tensor, beta: float, gamma: float, label_smoothing: float = 0.0) -> Tensor:
        trainer = stand_in(
            alpha=0.0, loss_type="simpo", simpo_gamma=gamma, beta=beta,
            label_smoothing=label_smoothing,
        )  # fmt: skip
        return trl.cpo.cpo_loss(trainer, means[:, 0], means[:, 1])[0]

    return loss


@pytest.fixture(scope="session")
def trl_cpo(trl: Any) -> Any:
    """Return `loss(values, loss_type, **settings)`: TRL's CPO losses [B] without their NLL."""

    def loss(values: Tensor, loss_type: str, **settings: Any) -> Tensor:
        trainer = stand_in(loss_type=loss_type, **settings)
        return trl.cpo.cpo_loss(trainer, values[:, 0], values[:, 1])[0]

    return loss


@pytest.fixture(scope="session")
def trl_orpo() -> Any:
    """Return `loss(means, beta)`: TRL's term of the odds [B], which it subtracts from the NLL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.orpo import ORPOTrainer

    def loss(means: Tensor, beta: float) -> Tensor:
        return ORPOTrainer.odds_ratio_loss(stand_in(beta=beta), means[:, 0], means[:, 1])[0]

    return loss


@pytest.fixture(scope="session")
def liger() -> Any:
    """Return Liger's loss functions: each a mean over pairs or points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from liger_kernel.chunked_loss.cpo_loss import LigerFusedLinearCPOFunction
        from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction
        from liger_kernel.chunked_loss.kto_loss import LigerFusedLinearKTOFunction
        from liger_kernel.chunked_loss.orpo_loss import LigerFusedLinearORPOFunction
        from liger_kernel.chunked_loss.simpo_loss import LigerFusedLinearSimPOFunction
    return SimpleNamespace(
        cpo=LigerFusedLinearCPOFunction.preference_loss_fn,
        orpo=LigerFusedLinearORPOFunction.preference_loss_fn,
        dpo=LigerFusedLinearDPOFunction.preference_loss_fn,
        kto=LigerFusedLinearKTOFunction.preference_loss_fn,
        simpo=LigerFusedLinearSimPOFunction.preference_loss_fn,
    )
