import pytest
from tests.browser import chromium


@pytest.fixture(autouse=True, scope="session")
def _there_is_chromium() -> None:
    if chromium.find() is None:
        pytest.skip("no Chromium on this machine: install it, or let `make browser` try")
