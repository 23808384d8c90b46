"""Responses as the leaves of a tree, token by token, where every value is exact.

The truth: rewards belong to whole responses, and a policy over responses is one over tokens too.
The value of a beginning is what can be had from there under a KL penalty of strength beta,
V(s) = beta log E_ref[exp(reward / beta) | s], and the optimum's log-ratio of a token is the value
that it gains, divided by beta.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prefine.ledger.worlds.tabular import Tabular


@dataclass(frozen=True)
class Tree:
    """Prompts with all responses of some tokens.

    Attributes:
        table: [X, A^T] rewards and the reference.
        tokens: A, what each token is one of.
        length: T, tokens of each response.

    Example:
        >>> tree = Tree.drawn(0, prompts=2, tokens=2, length=3)
        >>> steps = tree.steps(tree.table.reference)
        >>> steps.shape, steps.sum(-1).allclose(tree.table.reference)
        (torch.Size([2, 8, 3]), True)
    """

    table: Tabular
    tokens: int
    length: int

    @classmethod
    def drawn(
        cls, seed: int, *, prompts: int, tokens: int = 3, length: int = 4, spread: float = 3.0,
        tilt: float = 0.3,
    ) -> "Tree":  # fmt: skip
        """Draw rewards N(0, spread^2), and reference logits N(0, tilt^2) at every token."""
        generator = torch.Generator().manual_seed(seed)
        reward = torch.randn(prompts, tokens**length, generator=generator, dtype=torch.float64)
        reference = torch.zeros_like(reward)
        for t in range(length):
            logits = torch.randn(
                prompts, tokens**t, tokens, generator=generator, dtype=torch.float64
            )
            step = (tilt * logits).log_softmax(-1).flatten(1)
            reference += step.repeat_interleave(tokens ** (length - t - 1), 1)
        return cls(Tabular(spread * reward, reference), tokens, length)

    def totals(self, values: Tensor) -> list[Tensor]:
        """Return the log of the sum of exponentials over what follows, of no token up to all."""
        return [values.unflatten(1, (self.tokens**t, -1)).logsumexp(-1) for t in self.depths]

    @property
    def depths(self) -> range:
        """How many tokens a beginning may have."""
        return range(self.length + 1)

    def steps(self, values: Tensor) -> Tensor:
        """Return [X, N, T] what each token adds to such sums along every response.

        Of a policy's log-probabilities they are those of its tokens; of a reward in units of beta
        plus the reference's, those of the optimum.
        """
        whole = [
            total.repeat_interleave(self.tokens ** (self.length - t), 1)
            for t, total in zip(self.depths, self.totals(values), strict=True)
        ]
        return torch.stack(whole, -1).diff(dim=-1)

    def gains(self, beta: float) -> Tensor:
        """Return [X, N, T] the value that each token gains, in units of reward."""
        table = self.table
        gained = self.totals(table.reference + table.reward / beta)
        given = self.totals(table.reference)
        values = torch.stack(
            [
                (beta * (one - other)).repeat_interleave(self.tokens ** (self.length - t), 1)
                for t, one, other in zip(self.depths, gained, given, strict=True)
            ],
            -1,
        )
        return values.diff(dim=-1)

    def model(self, policy: Tensor) -> Any:
        """Return a policy [X, N] as a model of transformers: prompt x is the token A + x."""
        return table_model(self, policy)

    def responses(self, tokens: Tensor) -> Tensor:
        """Return [B] which response each row of tokens [B, T] is."""
        places = self.tokens ** torch.arange(self.length - 1, -1, -1)
        return (tokens * places).sum(1)


def table_model(tree: Tree, policy: Tensor) -> Any:
    """Return a model that knows a policy by heart, for what transformers does with models."""
    from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

    totals = tree.totals(policy)

    class ByHeart(PreTrainedModel, GenerationMixin):
        config_class = PretrainedConfig
        main_input_name = "input_ids"

        def __init__(self) -> None:
            size = tree.tokens + len(policy)
            super().__init__(PretrainedConfig.from_dict({"vocab_size": size}))
            self.anywhere = nn.Parameter(torch.zeros(()))

        def prepare_inputs_for_generation(
            self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
        ) -> dict[str, Tensor]:
            """Return what is looked up; nothing is padded, so no mask is read."""
            return {"input_ids": input_ids}

        def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
            prompt, said = input_ids[:, 0] - tree.tokens, input_ids[:, 1:]
            at = torch.zeros_like(prompt)
            for token in said.T:
                at = at * tree.tokens + token
            following = at[:, None] * tree.tokens + torch.arange(tree.tokens)
            step = totals[said.shape[1] + 1][prompt[:, None], following]
            never = step.new_full((len(step), len(policy)), -torch.inf)
            return CausalLMOutput(logits=torch.cat([step, never], 1)[:, None])  # type: ignore[arg-type]

    model = ByHeart()
    model.generation_config.use_cache = False
    return model
