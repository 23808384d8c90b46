"""Names of published recipes that are an objective with certain options, and nothing more.

A preset is written out into the run's configuration, so that run.yaml says what was done; whatever
a user sets wins over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefine.records.streams import READ


@dataclass(frozen=True, slots=True)
class Preset:
    """An objective with options.

    Attributes:
        objective: Its name.
        summary: What it is, and where from.
        options: Of the objective.
        denoising: How a picture model is scored.
        rows: How rows are made.
        rationale: The term that explains preferences.
        chase: How a second set of adapters learns beside the first.
        lora: The adapters.
        degrees: The term that tells damaged responses apart.
        streaming: How a translator reads.
    """

    objective: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    denoising: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rows: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rationale: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chase: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lora: Mapping[str, Any] = field(default_factory=dict[str, Any])
    degrees: Mapping[str, Any] = field(default_factory=dict[str, Any])
    streaming: Mapping[str, Any] = field(default_factory=dict[str, Any])


BLOCKS = ("options", "denoising", "rows", "rationale", "degrees", "streaming", "chase", "lora")
"""What a preset may set."""

SHARED = {"reduction": "mean", "noise": "shared", "draws": 1}

PRESETS: dict[str, Preset] = {
    "diffusion_dpo": Preset(
        "dpo",
        "Pairs of pictures, one time and one noise for both (Wallace et al. 2023, "
        "arXiv:2311.12908).",
        {"beta": 5000.0},
        SHARED,
    ),
    "flow_dpo": Preset(
        "dpo",
        "Pairs of pictures for flows, with a beta that does not depend on time (Liu et al. 2025, "
        "arXiv:2501.13918).",
        {"beta": 100.0},
        {**SHARED, "time_weight": "constant"},
    ),
    "mapl": Preset(
        "margin_dpo",
        "Pairs, one response under prompts that it obeys and breaks, and margins that such prompts "
        "widen or narrow (arXiv:2505.12845).",
        rows={"instructions": {"intra": 1.0, "inter": 1.0}},
    ),
    "mapl_reward": Preset(
        "margin_reward",
        "A reward model of pairs, one response under prompts that it obeys and breaks, and margins "
        "that such prompts widen or narrow; here the method is exact (arXiv:2505.12845).",
        rows={"instructions": {"intra": 1.0, "inter": 1.0}},
    ),
    "ofs_dpo": Preset(
        "dpo",
        "Pairs, and two sets of adapters that learn at two speeds and chase each other; the better "
        "one is kept (Qi et al. 2024, arXiv:2406.05534).",
        {"beta": 0.1},
        chase={"ratio": 0.1, "alpha": 0.3, "beta": 0.1, "every": 20},
        lora={"r": 16, "alpha": 32.0},
    ),
    "rationale_dpo": Preset(
        "dpo",
        "Pairs, and the likelihood of the reason for each, given both responses (RDPO, "
        "arXiv:2407.14477).",
        {"beta": 0.1},
        rationale={"gamma": 0.5},
    ),
    "rationale_orpo": Preset(
        "orpo",
        "Pairs, and the likelihood of the reason for each, without a reference (RORPO, "
        "arXiv:2407.14477).",
        rationale={"gamma": 1.0},
    ),
    "rank_dpo": Preset(
        "lipo",
        "Lists of pictures whose pairs weigh by gain and rank of their labels (Karthik et al. "
        "2024, arXiv:2410.18013).",
        {"beta": 5000.0, "rank_by": "labels"},
        {**SHARED},
    ),
    "simulpl": Preset(
        "simul_dpo",
        "Pairs of trajectories of a translator that reads and writes in turn, with a price on "
        "waiting and imitation of the better one's actions (SimulPL, arXiv:2502.00634).",
        {"action_imitation": 0.1},
        streaming={"read": READ},
    ),
    "smpo": Preset(
        "smoothed_dpo",
        "Pairs of pictures that weigh by how sure a reward is of them, each seen with the noise "
        "that the policy would draw it from (arXiv:2506.02698).",
        {"beta": 2000.0, "gamma": 10.0},
        {**SHARED, "noise": "inverted"},
    ),
    "spo": Preset(
        "dpo",
        "Pairs, and a throw-away head that tells how damaged versions of both responses are (SPO, "
        "arXiv:2409.17791).",
        {"beta": 0.1},
        degrees={"weight": 0.1, "steps": 3},
    ),
    "text_dpo": Preset(
        "clipped_dpo",
        "A picture with its own caption and with a changed one (TDPO, arXiv:2509.25771); the "
        "changed one is pushed no further than the floor.",
        {"beta": 5000.0, "floor": 5e-4},
        SHARED,
        {"captions": "swap"},
    ),
    "text_kto": Preset(
        "diffusion_kto",
        "A picture with a single caption: its own is desirable, a changed one is not (TKTO, "
        "arXiv:2509.25771).",
        {"beta": 2000.0},
        SHARED,
        {"captions": "swap"},
    ),
}
"""Name -> what it stands for."""


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write a preset out; what is given already wins.

    Example:
        >>> expand({"objective": "diffusion-dpo", "options": {"beta": 2000}})["options"]
        {'beta': 2000}
        >>> expand({"objective": "spo", "degrees": None})["degrees"] is None
        True
        >>> expand({"objective": "dpo"})
        {'objective': 'dpo'}
    """
    name = values.get("objective")
    preset = PRESETS.get(name.replace("-", "_")) if isinstance(name, str) else None
    if preset is None:
        return dict(values)
    found: dict[str, Any] = {**values, "objective": preset.objective}
    for block in BLOCKS:
        ours, given = getattr(preset, block), values.get(block, {})
        if ours and isinstance(given, Mapping):  # null switches a block off
            found[block] = {**ours, **given}
    return found
