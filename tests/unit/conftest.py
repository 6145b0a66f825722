"""How hypothesis tries things: as long as it takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# What an example takes of the wall clock says nothing of the library: a machine that is
# busy stops a test for longer than the 200 ms that are allowed by default.
settings.register_profile(
    "waterdrop", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("waterdrop")
