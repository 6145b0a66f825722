"""What is said where the package is missing that a listener needs."""

from __future__ import annotations

from typing import Final

_PACKAGES: Final = {
    "prometheus": "prometheus-client",
    "opentelemetry": "opentelemetry-api",
    "datadog": "datadog",
}


def missing(listener: str, extra: str, error: ImportError) -> ImportError:
    """The error that names the extra of `listener`; `error` said what is missing."""
    return ImportError(
        f"{listener} needs {_PACKAGES[extra]}, which could not be imported ({error}); "
        f"this installs it: pip install 'waterdrop-py[{extra}]'",
        name=error.name,
        path=error.path,
    )
