"""A listener without the package that it needs says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.modules[{package!r}] = None
from waterdrop_py import listeners
for _ in range(2):
    try:
        listeners.{listener}
    except ImportError as error:
        print(error)
print(callable(listeners.LoggingListener))
"""


@pytest.mark.parametrize(
    ("listener", "package", "extra"),
    [
        ("PrometheusListener", "prometheus_client", "prometheus"),
        ("OpenTelemetryListener", "opentelemetry", "opentelemetry"),
        ("DatadogListener", "datadog", "datadog"),
    ],
)
def test_a_missing_extra_is_named(listener: str, package: str, extra: str) -> None:
    """Each time it is asked for; other listeners are still there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(listener=listener, package=package)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    *errors, others = done.stdout.splitlines()
    assert others == "True"
    assert len(errors) == 2
    for error in errors:
        assert error.startswith(f"{listener} needs ")
        assert f"pip install 'waterdrop-py[{extra}]'" in error
