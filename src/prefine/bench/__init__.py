"""The instrument: prefine beside TRL on the same work, step by step in turn."""
