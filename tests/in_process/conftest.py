from __future__ import annotations

from collections.abc import Iterator

import pytest
from stand_in import standing_in


@pytest.fixture(scope="module")
def no_worker() -> Iterator[None]:
    """Whatever asks a worker asks this process."""
    with standing_in():
        yield
