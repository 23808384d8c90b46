"""Losses over what a policy draws: by samples, or exactly where everything can be listed."""

from torch import Tensor

from prefine.errors import ConfigError


def reinforce(log_prob: Tensor, advantage: Tensor) -> Tensor:
    r"""Return [...] terms whose gradient is that of minus the expected reward.

    .. math:: \ell = -A \log\pi(y), \quad \nabla E[\ell] = -\nabla E[r]

    Args:
        log_prob: [...] of samples that the policy drew just now.
        advantage: [...] rewards less a baseline that does not depend on the sample; no gradient.

    Source:
        Williams 1992, "Simple statistical gradient-following algorithms".

    Example:
        >>> import torch
        >>> reinforce(torch.tensor([-2.0]), torch.tensor([0.5]))
        tensor([1.])
    """
    return -advantage.detach() * log_prob


def leave_one_out(reward: Tensor) -> Tensor:
    """Return [B, K] the reward of each sample less the mean of the other samples of its prompt.

    Args:
        reward: [B, K] of K samples, two or more.

    Raises:
        ConfigError: If there is a single sample.

    Source:
        Kool, van Hoof and Welling 2019; for language models: Ahmadian et al. 2024,
        arXiv:2402.14740.

    Example:
        >>> import torch
        >>> leave_one_out(torch.tensor([[1.0, 2.0, 6.0]]))
        tensor([[-3.0000, -1.5000,  4.5000]])
    """
    count = reward.shape[-1]
    if count < 2:
        raise ConfigError("leave_one_out: a single sample has no others to be compared with.")
    return (reward - reward.mean(-1, keepdim=True)) * count / (count - 1)


def mixture(policy: Tensor, reference: Tensor, share: float) -> Tensor:
    r"""Return [..., V] log-probabilities of the geometric mixture, without gradient.

    .. math:: q \propto \pi^{1-b}\, ref^{\,b}

    Of whole responses it is the mixture of the paper, of single tokens a stand-in for it.

    Args:
        policy: [..., V] log-probabilities.
        reference: [..., V] log-probabilities.
        share: b, in [0, 1]; 0 is the policy.

    Raises:
        ConfigError: If the share is out of range.

    Source:
        Munos et al. 2023, arXiv:2312.00886; in IPO-MD: Calandriello et al. 2024, arXiv:2403.08635.

    Example:
        >>> import torch
        >>> even, skewed = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.9, 0.1]).log()
        >>> mixture(even, skewed, 0.5).exp()  # 3 : 1
        tensor([0.7500, 0.2500])
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"`share` must be in [0, 1], got {share}.")
    return ((1 - share) * policy + share * reference).detach().log_softmax(-1)


def pair_weights(sampler: Tensor, prompt: Tensor, response: Tensor) -> Tensor:
    """Return [B] how often a sampler draws both responses of a pair, without gradient.

    With a weight for each pair that there is, a loss on pairs becomes its exact expectation over
    what the sampler draws.

    Args:
        sampler: [X, N] log-probabilities of what draws.
        prompt: [B] prompts.
        response: [B, 2] responses.

    Example:
        >>> import torch
        >>> coin = torch.tensor([[0.25, 0.75]]).log()
        >>> pair_weights(coin, torch.tensor([0]), torch.tensor([[0, 1]]))
        tensor([0.1875])
    """
    return sampler.detach()[prompt[:, None], response].sum(1).exp()
