"""In a browser and over HTTP: the reward endpoint."""

from prefine.web.access import Access
from prefine.web.batching import Batcher, Overloaded
from prefine.web.queries import Queries, QueryError, Scored
from prefine.web.reward import Limits, reward_app
from prefine.web.serve import listen, serve

__all__ = [
    "Access",
    "Batcher",
    "Limits",
    "Overloaded",
    "Queries",
    "QueryError",
    "Scored",
    "listen",
    "reward_app",
    "serve",
]
