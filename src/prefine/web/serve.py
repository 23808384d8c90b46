"""Listen, and answer until told to stop."""

import socket
from typing import Any

from prefine.errors import ConfigError
from prefine.extras import require
from prefine.web.access import check_host

BACKLOG = 128


def listen(host: str, port: int, *, expose: bool = False) -> socket.socket:
    """Return a socket that is bound to an address.

    Args:
        host: Address; this machine alone unless `expose` is true.
        port: Port; 0 for any that is free.
        expose: Whether other machines may reach it.

    Raises:
        ConfigError: If others could reach it without `expose`, or the port cannot be had.
    """
    check_host(host, expose=expose)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host}: no such address. {error}") from None
    try:
        if hasattr(socket, "SO_REUSEADDR") and hasattr(socket, "AF_UNIX"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # means theft on Windows
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigError(f"{host}:{port} cannot be listened on. {error}") from None
    return bound


def serve(app: Any, bound: socket.socket) -> None:
    """Answer requests until SIGINT or SIGTERM; what is being scored is finished first.

    Raises:
        MissingExtraError: If uvicorn is not installed.
    """
    uvicorn = require("uvicorn", extra="serve")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=10,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[bound])
