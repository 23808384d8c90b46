"""Is the reference the policy that training starts from?"""

from prefine.audit.curves import Curves
from prefine.audit.finding import Finding, seen
from prefine.errors import MissingMetric

ROUNDING, ROUNDING_16_BIT = 1e-3, 3e-2
"""Share of a response's log-probability that arithmetic explains, as the guard of step 0 has it."""

NAMES = ("log_ratio/chosen", "log_ratio/rejected", "kl_reference")


def reference_mistaken(curves: Curves) -> Finding | None:
    """Log-ratios that are not 0 before the first step: policy and reference were never the same.

    Every number that is relative to the reference then carries their old difference: a loss that
    starts elsewhere than at its value for equals, margins that nobody trained, a KL that is none.
    """
    if curves.is_reward_model or not curves.has_reference:
        return None
    values = [curves.get(name) for name in NAMES if curves.has(name)]
    if any(curve.steps[0] != 1 for curve in values):
        raise MissingMetric("step 1")
    low = curves.header.get("dtype") in ("bfloat16", "float16") or any(
        (curves.config.get("training") or {}).get(name) for name in ("bf16", "fp16")
    )
    allowed = (ROUNDING_16_BIT if low else ROUNDING) * (1 + curves.surprisal())
    first = [curve.part((0.0, 0.0), curves.last_step) for curve in values]
    worst = max(abs(float(curve.values[0])) for curve in first)
    if worst <= allowed:
        return None
    return Finding(
        "reference_mistaken",
        "critical",
        worst / allowed,
        f"Policy and reference differed before the first step, by {worst:.3g} nats where rounding "
        f"explains {allowed:.2g}. The reference is not the policy that training started from, so "
        "margins, accuracies and the loss measure their old difference, too.",
        (*map(seen, first), seen(curves.over("loss", (0.0, 0.0)))),
        f"The run names its reference: {curves.header.get('reference', 'unknown')}. Use "
        "--reference auto, or the model that training starts from (after SFT, the SFT model). If "
        "another reference is meant, read margins as changes against their first value.",
    )
