"""A scalar reward model on disk and in use."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prefine.adapters import SequenceReward
from prefine.errors import ConfigError
from prefine.models.load import load_reward_model, load_tokenizer
from prefine.models.score import score_rows
from prefine.protocols import Rewards
from prefine.storage import write_json

FILE = "preference.json"

logger = logging.getLogger("prefine.models")


@dataclass(frozen=True, slots=True)
class RewardCard:
    """What must be known to use a reward model's numbers; kept beside its weights.

    Attributes:
        pooling: Where the reward is read.
        temperature: P(a beats b) = sigmoid((r_a - r_b) / temperature).
        mean: Mean reward over the named distribution.
        std: Standard deviation of the reward over it.
        distribution: What that distribution is.
        template: Which chat template the model was trained with.
        template_hash: Its hash.
        max_length: Longest input in tokens it was trained on.
        scale: `"prompt"`, since Bradley-Terry leaves a constant free per prompt, or `"absolute"`
            where training removed it (`centre` > 0).
    """

    template: str
    template_hash: str
    mean: float
    std: float
    distribution: str
    max_length: int | None
    scale: str = "prompt"
    temperature: float = 1.0
    pooling: str = "last attended token"

    def save(self, folder: Path) -> None:
        """Write `preference.json`."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "RewardCard | None":
        """Read `preference.json`; None where a model from elsewhere has none.

        Raises:
            ConfigError: If the file is not such a card.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: this is not what prefine writes beside a reward model ({error}), so what "
                "its scores mean is unknown. Restore the file, or remove it."
            ) from error


class RewardModel:
    """Scores messages with a scalar reward model: `RewardModel.load(name)(records)`.

    Args:
        model: A sequence classifier with one label.
        adapter: How texts become tokens.
        card: What the numbers mean, or None if the model does not say.
    """

    def __init__(self, model: Any, adapter: SequenceReward, card: RewardCard | None) -> None:
        self.model, self.adapter, self.card = model, adapter, card

    @classmethod
    def load(
        cls, name: str, *, dtype: str = "float32", template: str = "auto", **options: Any
    ) -> "RewardModel":
        """Load by Hub name or folder.

        Args:
            name: Hub name or folder.
            dtype: As for `load_policy`.
            template: Chat template, by default the tokenizer's own.
            **options: Of `SequenceReward`; `max_length` is by default the card's.

        Raises:
            ConfigError: If it is no reward model, or the template is not the one that it was
                trained with.
        """
        card = RewardCard.load(Path(name))
        if card is not None:
            options.setdefault("max_length", card.max_length)
        tokenizer = load_tokenizer(name)
        adapter = SequenceReward(tokenizer, template=template, **options)
        if card is not None and adapter.fingerprint()["template"] != card.template_hash:
            raise ConfigError(
                f"{name} was trained with the template {card.template!r}, and this is another one: "
                "its scores would mean nothing. Leave `template` at auto."
            )
        model = load_reward_model(name, dtype=dtype, tokenizer=tokenizer, new_head=False)
        return cls(model, adapter.fitted(model), card)

    def __call__(self, records: Any, step: int = 0) -> Rewards:
        """Score every candidate of every record.

        Candidates of a record are scored on the same prompt: where one of them cannot be scored (a
        control token in its text, a length above `max_length`), all of them are NaN.

        Returns:
            `value` [R, K], NaN where a record has fewer than K candidates or was not scored; what
            was left out or cut is logged as a warning.
        """
        from prefine.records.views import candidates_view

        # Numbered, because records may be the same but for their candidates.
        numbered = (replace(each, id=f"{n}:{each.id}") for n, each in enumerate(records))
        view = candidates_view(numbered)
        prepared = self.adapter.prepare(view)
        for reason, count in {**view.set_aside, **prepared.set_aside}.items():
            logger.warning("%d of %d records were not scored: %s", count, len(records), reason)
        for note in prepared.notes:
            logger.warning("%s", note)
        rows = prepared.dataset
        scores = self.score(rows)
        width = max((len(record.candidates) for record in records), default=0)
        value = torch.full((len(records), width), float("nan"), dtype=torch.float64)
        for row, values in zip(rows, scores, strict=True):
            n = int(row["record"].partition(":")[0])
            for role, score in zip(row["roles"], values, strict=True):
                value[n, int(role.removeprefix("response_"))] = score
        return Rewards(value, scale=self.card.scale if self.card else "prompt")

    def score(
        self, rows: Sequence[Mapping[str, Any]], *, progress: bool = False
    ) -> list[list[float]]:
        """Score encoded rows."""
        name = "rewards" if progress else None
        return score_rows(rows, self.model, self.adapter, progress=name)
