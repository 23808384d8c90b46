"""Who may ask."""

import base64
from pathlib import Path

import pytest

from prefine.errors import ConfigError
from prefine.web import Access, listen
from prefine.web.access import VARIABLE

TOKEN = "a-token-of-some-length"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (basic(f"prefine:{TOKEN}"), True),  # what an address with a password becomes
        (basic(f":{TOKEN}"), True),
        (None, False),
        ("", False),
        (TOKEN, False),
        ("Bearer", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer é", False),
        (f"Token {TOKEN}", False),
        (basic(TOKEN), False),
        ("Basic !", False),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), False),
    ],
)
def test_the_token_opens_and_nothing_else(header: str | None, allowed: bool) -> None:
    assert Access(TOKEN).allows(header) is allowed


def test_where_the_token_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    made = Access.choose()
    assert made.made
    assert len(made.token) > 40
    assert made.token != Access.choose().token
    monkeypatch.setenv(VARIABLE, TOKEN)
    assert Access.choose() == Access(TOKEN)
    file = tmp_path / "token"
    file.write_text("another-token-of-length\n", encoding="utf-8")
    assert Access.choose(file) == Access("another-token-of-length")
    assert TOKEN not in repr(Access(TOKEN)), "a log must not tell it"


@pytest.mark.parametrize("token", ["", "short", "with spaces in it all over", "ééééééééééééééééé"])
def test_a_poor_token_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, token)
    with pytest.raises(ConfigError, match="token"):
        Access.choose()


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Access.choose(tmp_path / "none")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "192.168.0.1"])
def test_an_open_address_must_be_meant(host: str) -> None:
    with pytest.raises(ConfigError, match="--expose"):
        listen(host, 0)


def test_an_open_address_that_is_meant() -> None:
    with listen("0.0.0.0", 0, expose=True) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert bound.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be listened on"):
            listen("127.0.0.1", port)
