"""`waterdrop demo` on a real cluster, with a login over TLS."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

LIMIT_S = 90.0


def url_of(kafka: KafkaCluster) -> str:
    """What a user writes for the listener with TLS and SCRAM."""
    properties = kafka.client_properties("SASL_SSL")
    servers = properties.pop("bootstrap.servers")
    login = ":".join(
        quote(properties.pop(f"sasl.{part}"), safe="")
        for part in ("username", "password")
    )
    properties.pop("security.protocol")
    return f"kafka+sasl_ssl://{login}@{servers}/?{urlencode(properties)}"


@pytest.mark.parametrize(
    ("way", "scenario"),
    [("--url", []), ("WATERDROP_URL", ["--pool"])],
    ids=["producers", "pools"],
)
def test_with_a_login(kafka: KafkaCluster, way: str, scenario: list[str]) -> None:
    """Nothing is lost or left open, and the password is not shown."""
    url = url_of(kafka)
    arguments = [way, url] if way.startswith("--") else []
    environment = {} if arguments else {way: url}
    done = subprocess.run(
        [sys.executable, "-m", "waterdrop_py", "demo", *arguments, *scenario],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "lost 0, duplicated 0" in done.stdout
    assert "OK: nothing lost or duplicated, no socket kept" in done.stdout
    assert kafka.client_properties("SASL_SSL")["sasl.password"] not in told
