"""How a policy answers prompts: drawn at a temperature, from a mixture, or found by a search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefine.errors import ConfigError
from prefine.models.load import load_at_hand, load_tokenizer, model_name
from prefine.records import Record
from prefine.sampling import BeamSampler, Drawing, LanguageSampler


@dataclass(frozen=True, kw_only=True)
class Answering:
    """A policy, and how responses come from it.

    Attributes:
        model: Hub name or folder.
        max_new_tokens: Tokens after which a response is cut.
        batch_size: Prompts at once.
        template: Chat template.
        temperature: 1 draws from the model itself; None for 1.
        reference: Another model with the same vocabulary, or None.
        mixture: Share of the reference in what each token is drawn from (IPO-MD).
        beams: Beginnings that a search keeps; None draws.
        length_penalty: Power of its length that a found response's log-probability is divided by;
            None for 1.

    Raises:
        ConfigError: If an option has no meaning beside the others.

    Example:
        >>> Answering(model="m", beams=5).drawing([], 1).sampling
        {'max_new_tokens': 256, 'beams': 5, 'length_penalty': 1.0}
    """

    model: str
    max_new_tokens: int = 256
    batch_size: int = 8
    template: str = "auto"
    temperature: float | None = None
    reference: str | None = None
    mixture: float | None = None
    beams: int | None = None
    length_penalty: float | None = None

    def __post_init__(self) -> None:
        """Check what no sampler would."""
        if not 0 < self._temperature < math.inf:
            raise ConfigError(
                f"`temperature` must be a finite number above 0, got {self.temperature}. For the "
                "likeliest token each time, search with one beam."
            )
        if self.beams is not None:
            self._refuse_chance(["temperature", "reference", "mixture"])
        if self.length_penalty is not None and (self.beams or 1) < 2:
            raise ConfigError(
                "A length penalty compares what a search of several beams finds, and there is one "
                "beam or none. Raise the number of beams, or remove it."
            )
        if not math.isfinite(self._penalty):
            raise ConfigError(
                f"`length_penalty` must be a finite number, got {self._penalty}. 0 compares sums, "
                "and 1 means over tokens."
            )
        if (self.reference is None) != (not self.mixture):
            raise ConfigError(
                "A mixture takes a reference and its share, above 0: give both or neither, or one "
                "of them would do nothing."
            )

    def _refuse_chance(self, names: Sequence[str]) -> None:
        given = [name for name in names if getattr(self, name) is not None]
        if given:
            raise ConfigError(
                f"A search with beams draws nothing, so {', '.join(given)} means nothing to it. "
                "Remove it, or draw without beams."
            )

    def drawing(self, asked: Sequence[Record], n: int, seed: int | None = None) -> Drawing:
        """Return what `draw_responses` draws.

        Args:
            asked: Records whose contexts are the prompts.
            n: Responses to each.
            seed: None for 0.

        Raises:
            ConfigError: If a search is given a seed, or asked for more than it keeps.
        """
        sampling: dict[str, Any] = {"max_new_tokens": self.max_new_tokens}
        if self.beams is None:
            sampling |= {"temperature": self._temperature, "seed": seed or 0}
        else:
            if seed is not None:
                raise ConfigError("A search with beams draws nothing, so a seed does nothing.")
            if n > self.beams:
                raise ConfigError(
                    f"A search with {self.beams} beams ends with {self.beams} responses, {n} were "
                    "asked for. Raise the number of beams."
                )
            sampling |= {"beams": self.beams, "length_penalty": self._penalty}
        if self.reference is not None:
            sampling |= {"mixture": self.mixture, "reference": model_name(self.reference)}
        return Drawing(self.model, asked, n, seed or 0, self.batch_size, sampling)

    def sampler(self) -> LanguageSampler | BeamSampler:
        """Load the models; they go to the accelerator where there is one.

        Raises:
            ConfigError: If a model cannot be loaded, or two have different vocabularies.
        """
        tokenizer = load_tokenizer(self.model)
        common: dict[str, Any] = {
            "template": self.template, "max_new_tokens": self.max_new_tokens,
            "batch_size": self.batch_size, "name": model_name(self.model),
        }  # fmt: skip
        if self.beams is not None:
            network = load_at_hand(self.model)
            return BeamSampler(
                network, tokenizer, beams=self.beams, length_penalty=self._penalty, **common
            )
        base = None
        if self.reference is not None:
            if load_tokenizer(self.reference).get_vocab() != tokenizer.get_vocab():
                raise ConfigError(
                    f"{self.model} and {self.reference} have different vocabularies, so a token "
                    "of one is none of the other, and nothing can be drawn from both. Name the "
                    "model that the policy was trained from."
                )
            base = load_at_hand(self.reference)
        return LanguageSampler(
            load_at_hand(self.model), tokenizer, temperature=self._temperature, reference=base,
            mixture=self.mixture or 0.0, **common,
        )  # fmt: skip

    @property
    def _temperature(self) -> float:
        return 1.0 if self.temperature is None else self.temperature

    @property
    def _penalty(self) -> float:
        return 1.0 if self.length_penalty is None else self.length_penalty
