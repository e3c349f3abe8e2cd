"""One embedded Ray for all tests of this folder that need a pool or a coordinator: starting it costs four seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.session import LOCAL, Where, ray_session


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Capacity]:
    """An embedded Ray with two CPUs; gives what it has."""
    with ray_session(Where(LOCAL, 2)) as capacity:
        yield capacity


@pytest.fixture(scope="session")
def launching() -> ModuleType:
    """launching.py: a small pretraining by command."""
    spec = importlib.util.spec_from_file_location("launching", Path(__file__).with_name("launching.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
