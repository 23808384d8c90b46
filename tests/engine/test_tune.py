"""The settings of a process: applied where they help, measured before they stay."""

import subprocess
import sys

import pytest
import torch

from prefine.engine import tune as module

AMD = "vendor_id : AuthenticAMD\nflags : avx512f"
INTEL = "vendor_id : GenuineIntel\nflags : amx_bf16"


@pytest.fixture(autouse=True)
def restored() -> object:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
    return None


def test_only_on_the_processors_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    for processor, expected in ((INTEL, False), ("", False), (AMD + " amx_tile", False)):
        monkeypatch.setattr(module, "_processor", lambda told=processor: told)
        assert module.use_onednn() is expected
        assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("error", "stays"), [(1e-6, True), (3e-3, False)])
def test_what_it_does_is_measured(
    error: float, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the same words mean bfloat16 products, they are taken back."""
    monkeypatch.setattr(module, "_processor", lambda: AMD)
    monkeypatch.setattr(module, "_error", lambda: error)
    assert module.use_onednn() is stays
    assert torch.get_float32_matmul_precision() == ("medium" if stays else "highest")


def test_a_wish_of_the_user_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processor", lambda: AMD)
    torch.set_float32_matmul_precision("high")
    assert not module.use_onednn()
    assert torch.get_float32_matmul_precision() == "high"


def test_the_error_is_that_of_float32() -> None:
    assert 0 < module._error() < module.ROUNDING


def test_it_runs_in_a_process_of_its_own_without_prefine() -> None:
    """The benchmark gives TRL's process the same settings."""
    path = module.__file__
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tune", {path!r})
tune = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tune)
print(len(tune.tune()) <= 2, "prefine" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
