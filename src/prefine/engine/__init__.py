"""The engine: what makes scoring fast without the adapters' knowing."""

from prefine.engine.choose import Choice, choose_layout
from prefine.engine.reference_cache import ReferenceCache, item_key, weights_hash

__all__ = ["Choice", "ReferenceCache", "choose_layout", "item_key", "weights_hash"]
