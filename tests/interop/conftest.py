"""What the tests with foreign clients share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import go_client
from tests.interop.services import Services


@pytest.fixture(scope="session")
def go_binary() -> Path:
    """Build go-fdo-client, or skip; in CI it is there, or the run is red."""
    try:
        return go_client.build()
    except go_client.ToolMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Run everything."""
    with Services(tmp_path_factory.mktemp("stack")) as running:
        yield running
