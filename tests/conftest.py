"""Property-based tests draw the same examples in every run of `make test`; HYPOTHESIS_PROFILE=random draws new ones."""

from __future__ import annotations

import os

from hypothesis import settings

import ulmfit_dist.cluster  # noqa: F401 - sets Ray's environment, which Ray reads when a test first imports it

# Time limits of an example would fail on a busy machine; what has to be fast has a test of its own.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
