"""What a reader sees of the reports that the tutorials make.

`make browser SCREENSHOTS=docs/_static/screenshots` renews the pictures that the pages show.
"""

import os
from pathlib import Path

import pytest
from tests.browser.chromium import document, picture
from tests.docs.blocks import DOCS, ROOT, Reader

pytestmark = pytest.mark.browser

LARGEST = 150_000
"""Bytes of a picture."""

SHOTS = {
    "first-run": {"first-run": ("out/dpo/report.html", "s1")},
    "rankings": {"rankings": ("out/lists/report.html", "")},
    "noisy-votes": {"compare": ("compare.html", "")},
    "pictures": {"pictures": ("out/dpo/report.html", "s4")},
}
"""Tutorial -> picture -> the page it shows, and from which section on."""


@pytest.mark.parametrize("tutorial", SHOTS)
def test_the_report_of_a_tutorial_is_seen(
    tutorial: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if tutorial == "pictures":
        pytest.importorskip("diffusers")
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    target = ROOT / (os.environ.get("PREFINE_SCREENSHOTS") or tmp_path / "screenshots")
    home = tmp_path / "home"
    home.mkdir()
    Reader(home, monkeypatch).read(DOCS / "tutorials" / f"{tutorial}.md")
    for name, (page, section) in SHOTS[tutorial].items():
        assert "<h1>" in document(home / page, tmp_path)
        file = target / f"{name}.png"
        picture(home / page, file, tmp_path, section=section)
        assert 5_000 < file.stat().st_size < LARGEST, name
