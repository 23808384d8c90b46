"""A browser that may run scripts runs none of those that are planted in reports and cards."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from tests.browser.chromium import document
from tests.report.pages import write_everything
from tests.report.planted import PAYLOAD

pytestmark = pytest.mark.browser

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const pictures = [...document.images].filter(each => each.className == "picture");
  const shown = pictures.filter(each => each.complete && each.naturalWidth > 0);
  const said = document.createElement("output");
  said.textContent = `planted: ${window.planted}, pictures: ${shown.length}/${pictures.length}`;
  document.body.append(said);
}, 1000));
</script>"""
"""Our own script: says at the end whether a planted one ran, and how many pictures are seen."""


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> dict[str, Path]:
    return write_everything(tmp_path_factory.mktemp("planted"), tiny_llama, tiny_tokenizer)


def probed(page: str, folder: Path) -> tuple[str, str]:
    """Open a page that lets scripts run, beside all else that it allows; what our own one said."""
    (folder / "page.html").write_text(
        page.replace("</body>", f"{PROBE}</body>"), encoding="utf-8", newline=""
    )
    made = document(folder / "page.html", folder)
    said = re.findall(r"<output>(.*?)</output>", made)
    assert len(said) == 1, "the probe itself must run"
    return said[0], made


def test_the_probe_sees_what_runs(tmp_path: Path):
    """Without a page's care the planted text does run: the tests below can fail."""
    said, _ = probed(f"<!doctype html><body><p>{PAYLOAD}</p></body>", tmp_path)
    assert re.match(r"planted: \d,", said)


def test_nothing_planted_runs_in_a_report(written: dict[str, Path], tmp_path: Path):
    pages = {name: path for name, path in written.items() if path.suffix == ".html"}
    seen: dict[str, str] = {}
    for name, path in pages.items():
        page = path.read_text(encoding="utf-8")
        assert POLICY in page
        open_page = page.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'")
        seen[name], made = probed(open_page, tmp_path)
        assert "<h1>" in made
        assert made.count("<section") == page.count("<section"), "the page was drawn to its end"
    told = {name: said.split(", ")[0] for name, said in seen.items()}
    assert told == dict.fromkeys(pages, "planted: undefined")
    shown = re.fullmatch(r".*pictures: (\d+)/(\d+)", seen["pictures"])
    assert shown
    assert shown[1] == shown[2], "a page's policy must let its own pictures be seen"
    assert int(shown[2]) >= 8


def test_the_policy_alone_stops_scripts_too(written: dict[str, Path], tmp_path: Path):
    page = written["text"].read_text(encoding="utf-8")
    page = page.replace("</main>", f"{PAYLOAD}<p id=end></p></main>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    made = document(tmp_path / "page.html", tmp_path)
    assert 'id="end"' in made
    probe = PROBE.replace("<script>", "<script nonce=own>")
    page = page.replace(POLICY, f"{POLICY}; script-src 'nonce-own'")
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{probe}</body>"))
    assert "planted: undefined" in document(tmp_path / "page.html", tmp_path)


def test_nothing_planted_runs_in_a_card(written: dict[str, Path], tmp_path: Path):
    cards = {name: path for name, path in written.items() if path.suffix == ".md"}
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for name, path in cards.items():
        _, _, text = path.read_text(encoding="utf-8").split("---\n", 2)
        card = f"<!doctype html><meta charset=utf-8><body>{markdown.render(text)}</body>"
        said, made = probed(card, tmp_path)
        assert said.startswith("planted: undefined"), name
        assert "Held-out results</h2>" in made
