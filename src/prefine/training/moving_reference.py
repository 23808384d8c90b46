"""A reference that follows the policy (TR-DPO), so that training may leave its start behind."""

from pathlib import Path

import torch
from torch import nn

from prefine.errors import ConfigError, RunFolderError
from prefine.protocols import Adapter
from prefine.training.reference import Identity, ModuleReference

WEIGHTS = "reference.safetensors"


class MovingReference(ModuleReference):
    r"""A second module whose weights are moved towards the policy's every few steps.

    .. math:: \theta_{ref} \leftarrow \alpha\,\theta + (1 - \alpha)\,\theta_{ref}

    With a mix of 1 the reference becomes the policy (a hard update); below 1 it lags (soft).

    Args:
        model: The module; it is bound to the adapter and frozen here.
        adapter: The adapter that scores it.
        name: What to call it.
        is_initial_policy: True for a copy of the policy before training.
        every: Optimizer steps between two moves.
        mix: alpha in (0, 1].

    Raises:
        ConfigError: If the policy's parameters are sharded, so that no move could be made.

    Source:
        Gorbatovski et al. 2024, arXiv:2404.09656.
    """

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        name: str,
        *,
        is_initial_policy: bool,
        every: int,
        mix: float,
    ) -> None:
        super().__init__(model, adapter, name, is_initial_policy=is_initial_policy)
        self.every, self.mix = every, mix
        start = self.identity
        moved = f"{name}, moved {mix:g} of the way to the policy every {every} steps"
        self.identity = Identity("moving", moved, start.hash, is_initial_policy)

    def follow(self, policy: nn.Module, step: int) -> bool:
        """Move if this step is one to move after; return whether it was.

        Args:
            policy: The policy without wrappers.
            step: Optimizer steps taken, from 1.
        """
        if step % self.every:
            return False
        learnt = dict(policy.named_parameters())  # with a head, perhaps, that no reference has
        with torch.no_grad():
            for name, ours in self.model.named_parameters():
                theirs = learnt[name]
                if type(theirs.data) is not type(ours.data) and hasattr(theirs, "full_tensor"):
                    raise ConfigError(
                        "A moving reference needs the policy's parameters in one piece, but they "
                        "are sharded. Train without sharding, or without `reference_update`."
                    )
                ours.lerp_(theirs.to(ours), self.mix)
        return True

    def save(self, checkpoint: Path) -> None:
        """Write the weights as they are now into a checkpoint."""
        from safetensors.torch import save_file

        weights = {name: p.detach().cpu().contiguous() for name, p in self.model.named_parameters()}
        save_file(weights, str(checkpoint / WEIGHTS))

    def load(self, checkpoint: Path) -> None:
        """Read the weights back.

        Raises:
            RunFolderError: If the checkpoint holds none.
        """
        from safetensors.torch import load_file

        if not (checkpoint / WEIGHTS).is_file():
            raise RunFolderError(
                f"{checkpoint.name} holds no weights of a moving reference. Resume with the "
                "`reference_update` that the run was started with."
            )
        weights = load_file(str(checkpoint / WEIGHTS))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(weights[name])
