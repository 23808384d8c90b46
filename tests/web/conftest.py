"""A reward model behind an endpoint that is called without a network."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from prefine.web import Access, Limits, reward_app

TOKEN = "a-token-of-some-length"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Endpoint:
    """Calls an ASGI application as a server would."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def ask(self, *requests: dict[str, Any]) -> list[tuple[int, Any, dict[str, str]]]:
        """Send requests at once; return status, content and headers of each."""

        async def all_of_them() -> list[tuple[int, Any, dict[str, str]]]:
            async with self.app.router.lifespan_context(self.app):
                return await asyncio.gather(*(self._one(**request) for request in requests))

        return asyncio.run(all_of_them())

    def post(self, content: Any, headers: Any = BEARER) -> tuple[int, Any, dict[str, str]]:
        """Send one request for rewards."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask({"body": body, "headers": headers})[0]

    async def _one(
        self, body: bytes = b"", headers: Any = BEARER, path: str = "/get_reward",
        method: str = "POST", chunk: int = 1000,
    ) -> tuple[int, Any, dict[str, str]]:  # fmt: skip
        parts = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
        sent: list[Any] = []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000), "state": {},
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            if not parts:
                await asyncio.sleep(3600)
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent)
        told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], _read(content), told


def _read(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()


@pytest.fixture
def endpoint() -> Callable[..., Endpoint]:
    """Return `make(score, **limits)`."""

    def make(score: Any, **limits: int) -> Endpoint:
        return Endpoint(reward_app(score, Access(TOKEN), Limits(**limits)))

    return make
