"""Who may ask: whoever has the token, on this machine unless it is said otherwise."""

import base64
import binascii
import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from prefine.errors import ConfigError

VARIABLE = "PREFINE_TOKEN"
SHORTEST = 16
"""Characters of a token that can hardly be guessed."""


@dataclass(frozen=True, slots=True)
class Access:
    """The token that a request must bring.

    It comes as `Authorization: Bearer TOKEN`, or as the password of `Authorization: Basic`: a
    client that cannot set headers, such as OpenRLHF's, sends it from an address like
    `http://prefine:TOKEN@127.0.0.1:5000/get_reward`.

    Attributes:
        token: The token.
        made: Whether it was made for this server, so that nobody knows it yet.

    Raises:
        ConfigError: If it is too short, or cannot be sent.

    Example:
        >>> Access("a-token-of-some-length").allows("Bearer a-token-of-some-length")
        True
    """

    token: str = field(repr=False)
    made: bool = False

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST:
            raise ConfigError(
                f"The token has {len(self.token)} characters, and needs at least {SHORTEST}: a "
                "short one is guessed. `openssl rand -hex 32` makes one."
            )
        if not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ConfigError("The token must be printable ASCII without spaces.")

    @classmethod
    def choose(cls, file: Path | None = None) -> "Access":
        """Take the token of a file, else of `PREFINE_TOKEN`, else make one.

        Raises:
            ConfigError: If the file cannot be read, or holds no token.
        """
        if file is not None:
            try:
                return cls(file.read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file}: the token cannot be read. {error}") from None
        if VARIABLE in os.environ:
            return cls(os.environ[VARIABLE].strip())
        return cls(secrets.token_urlsafe(32), made=True)

    def allows(self, header: str | None) -> bool:
        """Whether an `Authorization` header brings the token; as slow for any wrong one."""
        kind, _, rest = (header or "").partition(" ")
        given = rest.strip()
        if kind.lower() == "basic":
            given = _password(given)
        elif kind.lower() != "bearer":
            return False
        return secrets.compare_digest(given.encode(), self.token.encode())


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2]


def check_host(host: str, *, expose: bool) -> None:
    """Refuse an address that others can reach, unless that is what is wanted.

    Raises:
        ConfigError: If it can be reached from outside and `expose` is false.

    Example:
        >>> check_host("127.0.0.1", expose=False)
    """
    if expose or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host} can be reached from other machines, and what is sent is not encrypted. "
        "Leave it out to serve this machine alone; where others must reach it, put a proxy with "
        "TLS before it, and pass --expose to say that this is meant."
    )


def is_loopback(host: str) -> bool:
    """Whether an address leads to this machine alone; a name other than localhost does not count.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "a.org")]
        [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
