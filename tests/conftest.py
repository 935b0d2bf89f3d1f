"""What every test has: examples that are generated take as long as a busy machine needs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("lyftlearn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lyftlearn")
