"""The reward endpoint: OpenRLHF's protocol of remote reward models, and `/health`.

::

    POST /get_reward   {"query": [...], "prompts": [...], "labels": [...]}
                    -> {"rewards": [...], "scores": [...], "extra_logs": {"prompt_cut": [...]}}
    GET  /health    -> {"status": "ok"}

`query` holds rendered conversations, or lists of messages (an addition of ours: a policy's template
is not the reward model's); `prompts` the rendered prompts, by which the border of a response is
known; `labels` are taken and not read. One number for each query, in its order. `scores`, which
OpenRLHF filters rollouts by, are the rewards, as its own server answers.

Source: OpenRLHF at 3c3be62 (August 2026), `openrlhf/cli/serve_rm.py` (server), and
`SingleTurnAgentExecutor` in `openrlhf/utils/agent.py` (client: one query a request, no header of
its own, five tries, 180 seconds each).
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prefine.extras import require
from prefine.web.access import Access
from prefine.web.batching import Batcher, Overloaded
from prefine.web.queries import Query, QueryError, Scored

KEYS = ("query", "prompts", "labels")
MESSAGE_KEYS = ("role", "content")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take.

    Attributes:
        body: Bytes of a request.
        queries: Queries of a request.
        batch: Queries scored at once.
        waiting: Queries that may wait.
    """

    body: int = 8_000_000
    queries: int = 1024
    batch: int = 16
    waiting: int = 4096


class _Refused(Exception):
    """A request that gets no answer but this one."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def reward_app(
    score: Callable[[Sequence[Query]], Sequence[Scored | QueryError]],
    access: Access,
    limits: Limits | None = None,
) -> Any:
    """Return the endpoint as an ASGI application.

    Args:
        score: Scores a batch of queries, e.g. `Queries(model)`.
        access: Whose requests are answered.
        limits: What a request may take.

    Raises:
        MissingExtraError: If Starlette is not installed.
    """
    limits = limits or Limits()
    applications = require("starlette.applications", extra="serve")
    requests = require("starlette.requests", extra="serve")
    responses = require("starlette.responses", extra="serve")
    routing = require("starlette.routing", extra="serve")
    batcher = Batcher(score, size=limits.batch, most=limits.waiting)

    @asynccontextmanager
    async def running(_: Any) -> AsyncIterator[None]:
        await batcher.start()
        try:
            yield
        finally:
            await batcher.stop()

    async def health(_: Any) -> Any:
        return responses.JSONResponse({"status": "ok"})

    async def get_reward(request: Any) -> Any:
        try:
            if not access.allows(request.headers.get("authorization")):
                raise _Refused(401, "Send the token: Authorization: Bearer TOKEN.")
            queries = _queries(_parsed(await _body(request, limits.body)), limits.queries)
            return responses.JSONResponse(_answer(await batcher.ask(queries)))
        except _Refused as refused:
            headers = {401: {"www-authenticate": "Bearer"}}.get(refused.status)
            status, said = refused.status, str(refused)
        except QueryError as error:
            headers, status, said = None, 422, f"a query cannot be scored: {error}"
        except Overloaded as error:
            headers, status, said = {"retry-after": "1"}, 503, str(error)
        except requests.ClientDisconnect:
            headers, status, said = None, 400, "the request ended early"
        return responses.JSONResponse({"error": said}, status_code=status, headers=headers)

    return applications.Starlette(
        routes=[
            routing.Route("/get_reward", get_reward, methods=["POST"]),
            routing.Route("/health", health, methods=["GET"]),
        ],
        lifespan=running,
    )


def _answer(scored: Sequence[Scored]) -> dict[str, Any]:
    rewards = [one.reward for one in scored]
    cut = [int(one.was_cut) for one in scored]
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"prompt_cut": cut}}


async def _body(request: Any, most: int) -> bytes:
    """Read a request, and no more of it than is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _Refused(413, f"a request may hold {most:,} bytes")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"the request is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _Refused(400, "the request must be an object with the key `query`")
    unknown = sorted(found.keys() - set(KEYS))
    if unknown:
        raise _Refused(422, f"unknown key {unknown[0]!r}; known: {', '.join(KEYS)}")
    return found


def _queries(request: dict[str, Any], most: int) -> list[Query]:
    queries = request.get("query")
    if not isinstance(queries, list):
        raise _Refused(422, "`query` must be a list of texts or of lists of messages")
    if len(queries) > most:
        raise _Refused(413, f"a request may hold {most} queries, got {len(queries)}")
    prompts = request.get("prompts") or [None] * len(queries)
    for name, values in (("prompts", prompts), ("labels", request.get("labels") or queries)):
        if not isinstance(values, list) or len(values) != len(queries):
            raise _Refused(422, f"`{name}` must be a list as long as `query`")
    for number, (query, prompt) in enumerate(zip(queries, prompts, strict=True)):
        if prompt is not None and not isinstance(prompt, str):
            raise _Refused(422, f"prompt {number} must be a text")
        if not isinstance(query, str):
            _check_messages(number, query)
    return list(zip(queries, prompts, strict=True))


def _check_messages(number: int, query: Any) -> None:
    if not isinstance(query, list) or not query:
        raise _Refused(422, f"query {number} must be a text, or a list of messages")
    for message in query:
        told = message if isinstance(message, dict) else {}
        if set(told) != set(MESSAGE_KEYS) or not all(isinstance(v, str) for v in told.values()):
            raise _Refused(422, f"query {number}: a message must hold the texts `role`, `content`")
    if query[-1]["role"] != "assistant":
        raise _Refused(422, f"query {number}: the last message must be the assistant's")
