"""One embedded Ray for all tests of this folder that need a pool or a coordinator: starting it costs four seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ulmfit_dist.cluster.session import LOCAL, Capacity, Where, ray_session


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Capacity]:
    """An embedded Ray with two CPUs; gives what it has."""
    with ray_session(Where(LOCAL, 2)) as capacity:
        yield capacity
