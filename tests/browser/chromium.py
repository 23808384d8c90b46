"""Headless Chromium on a local page: what its document became, and what it looks like."""

import os
import shutil
import subprocess
from pathlib import Path

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find() -> str | None:
    """Where Chromium or Chrome is, if it is anywhere."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def document(page: Path, folder: Path) -> str:
    """Return the document of a page after its scripts, if any, have had their time."""
    return _run(page.resolve().as_uri(), folder, "--dump-dom")


def picture(
    page: Path, target: Path, folder: Path, *, section: str = "", height: int = 900
) -> None:
    """Write what a reader sees of a page, or of one section, 1,000 pixels wide, as a small PNG."""
    from PIL import Image

    whole, shown = folder / "screenshot.png", folder / "shown.html"
    text = page.read_text(encoding="utf-8")
    if section:
        rest = f"<style>nav, section:not(#{section}) {{ display: none }}</style>"
        text = text.replace("</head>", f"{rest}</head>")
    shown.write_text(text, encoding="utf-8")
    address = shown.resolve().as_uri()
    _run(address, folder, f"--screenshot={whole}", f"--window-size=1000,{height}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(whole) as image:
        image.convert("RGB").quantize(64).save(target, optimize=True)


def _run(address: str, folder: Path, *options: str) -> str:
    chromium = find()
    assert chromium is not None
    command = [
        chromium, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--virtual-time-budget=3000", f"--user-data-dir={folder / 'chromium'}", *options, address,
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # Chromium has none for root
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
