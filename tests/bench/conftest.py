"""Made-up measurements, for what is made of them."""

from collections.abc import Callable
from typing import Any

import pytest

from prefine.bench.cases import Case


@pytest.fixture
def made() -> Callable[..., dict[str, Any]]:
    """What `run_case` returns."""
    return _made


def _made(**changes: Any) -> dict[str, Any]:
    """Two steps: ours of 1 and 2 s, theirs of twice that; products take half of ours."""
    facts = {
        "first": 1, "base": 10, "owned": 10, "layout": "packed", "imported": 1.0, "prepared": 2.0,
        "first_step": 4.0, "response_tokens": [9, 4, 6, 9], "tokens": [9, 10, 20, 9],
        "their_tokens": [9, 15, 30, 9], "flops": [9.0, 10.0, 20.0, 9.0],
        "their_flops": [9.0, 15.0, 30.0, 9.0], "necessary_flops": [9.0, 8.0, 16.0, 9.0],
        "products": [(["forward", 1, 1, 1, 1], [9, 10, 20, 9])],
    }  # fmt: skip

    def steps(*seconds: float, peak: int) -> list[dict[str, float]]:
        return [{"seconds": s, "wall": s, "peak": peak, "loss": 0.7} for s in seconds]

    return {
        "case": Case().to_json(), "threads": 1, "agreement": {"loss": 0.0, "gradient": 0.0},
        "profile": {"products": 0.5, "rest": 0.5},
        "gauge": {
            "rates": [20.0], "busy_rates": [20.0], "peak": 40.0,
            "estimate": {"seconds_step": 1.0, "memory": {"training": 5}},
        },
        "sides": {
            "prefine": {"facts": facts, "steps": steps(1.0, 2.0, peak=30)},
            "trl": {"facts": facts, "steps": steps(2.0, 4.0, peak=60)},
        },
        **changes,
    }  # fmt: skip
