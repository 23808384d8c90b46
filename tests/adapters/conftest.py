"""What tests of encoding share."""

import pytest

from prefine.adapters import token_ids


@pytest.fixture
def word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few texts hold few words twice: take them apart all the same."""
    monkeypatch.setattr(token_ids, "MOST_NEW", 1.0)
