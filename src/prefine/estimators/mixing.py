"""How much of each source to train on, so that what is learnt helps one small set of interest."""

from typing import Any

import torch
from torch import Tensor

from prefine.errors import ConfigError, NonFiniteError

STATE = ("alpha", "weights")


def alignment(gradients: Tensor, target: Tensor) -> Tensor:
    r"""Return [K] how far a step along each source's gradient lowers the loss of a target set.

    .. math:: a_i = \frac{\langle g_i, g_s \rangle}{\lVert g_s \rVert \, \tfrac1K \sum_j \lVert g_j
        \rVert}

    The norms keep the scale while the loss falls; dividing by their mean, and not by each one's
    own, leaves a source that teaches more ahead of one that teaches little.

    Args:
        gradients: [K, P] of each source's mean loss.
        target: [P] of the target's mean loss.

    Raises:
        ConfigError: If the shapes do not fit.
        NonFiniteError: If a gradient is not finite.

    Example:
        >>> alignment(torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 0.0]]), torch.tensor([2.0, 0.0]))
        tensor([ 1.5000,  0.0000, -1.0000])
    """
    if gradients.ndim != 2 or target.shape != gradients.shape[1:]:
        raise ConfigError(
            f"alignment takes gradients [K, P] and a target [P], got {list(gradients.shape)} and "
            f"{list(target.shape)}."
        )
    norms = gradients.square().sum(1).sqrt()
    return aligned(gradients @ target, norms, target.square().sum().sqrt())


def aligned(products: Tensor, norms: Tensor, target: Tensor) -> Tensor:
    """Return [K] the same from numbers, where gradients are too large to be held at once.

    Args:
        products: [K] inner products with the target's gradient.
        norms: [K] of the sources' gradients.
        target: [] norm of the target's.

    Raises:
        NonFiniteError: If a product is not finite.
    """
    if not bool(products.isfinite().all()):
        raise NonFiniteError("A gradient of a source or of the target is not finite.")
    scale = target * norms.mean()
    return products / scale.clamp(min=torch.finfo(products.dtype).tiny)


class GradientMixing:
    r"""Weights of sources that follow the alignment of their gradients with a target's (DGA).

    After each update

    .. math:: \alpha_i \leftarrow \frac{\alpha_i e^{\eta a_i}}{\sum_j \alpha_j e^{\eta a_j}}, \qquad
        w \leftarrow d\,w + (1 - d)\,\alpha

    and no source falls below the floor, so that it can come back. Draw batches by `weights`.

    Args:
        count: Number of sources K.
        eta: Step of mirror descent.
        decay: d of the moving average of the weights, in [0, 1); 0 for none.
        floor: Smallest weight of a source before it is averaged.

    Raises:
        ConfigError: If an option is out of range.

    Source:
        Fan et al. 2024, arXiv:2410.02498 (DGA). The norms, `eta` and `decay` are choices of this
        library.

    Example:
        >>> mixing = GradientMixing(2, eta=1.0, decay=0.0)
        >>> mixing.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([1.0, 0.0]))
        tensor([0.8800, 0.1200])
    """

    def __init__(
        self, count: int, *, eta: float = 1.0, decay: float = 0.9, floor: float = 1e-3
    ) -> None:
        if count < 2:
            raise ConfigError(f"Mixing needs two sources or more, got {count}.")
        if eta <= 0 or not 0 <= decay < 1 or not 0 <= floor < 1 / count:
            raise ConfigError(
                f"`eta` must be above 0, `decay` in [0, 1) and `floor` in [0, 1/{count}), got "
                f"{eta}, {decay} and {floor}."
            )
        self.eta, self.decay, self.floor = eta, decay, floor
        self.alpha = torch.full((count,), 1 / count)
        self.weights = self.alpha.clone()

    def update(self, gradients: Tensor, target: Tensor) -> Tensor:
        """Take a step, and return the [K] weights that follow.

        Args:
            gradients: [K, P] of each source's mean loss on a fresh batch.
            target: [P] of the target set's, on a batch that changes from update to update.
        """
        return self.step(alignment(gradients, target))

    def step(self, aligned: Tensor) -> Tensor:
        """Take a step by [K] alignments, and return the [K] weights that follow."""
        logits = self.alpha.log() + self.eta * aligned.detach().to(self.alpha)
        # A floor keeps shares of sum 1: what is left above it is divided.
        self.alpha = self.floor + (1 - len(logits) * self.floor) * logits.softmax(0)
        self.weights = self.decay * self.weights + (1 - self.decay) * self.alpha
        return self.weights

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {name: [float(w) for w in getattr(self, name)] for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state.

        Raises:
            ConfigError: If it is one of another number of sources.
        """
        if len(state["alpha"]) != len(self.alpha):
            raise ConfigError(
                f"This state is of {len(state['alpha'])} sources and the mixing has "
                f"{len(self.alpha)}. Resume with the data that the run was started with."
            )
        self.alpha, self.weights = (torch.tensor(state[name]) for name in STATE)
