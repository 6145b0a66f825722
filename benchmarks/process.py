"""Counts sockets, threads and descriptors of this process, and lists versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import confluent_kafka

COMPARED = ("aiokafka", "kafka-python", "psycopg-pool", "kombu")
"""The distributions of the libraries that this one is measured beside."""


class Holdings(NamedTuple):
    """Numbers of sockets, threads and descriptors of a process."""

    sockets: int
    rdkafka_threads: int
    threads: int
    descriptors: int


def holdings() -> Holdings:
    """Count what this process holds now, from /proc (Linux only).

    Raises:
        OSError: the system has no /proc.
    """
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            links.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        except FileNotFoundError:
            continue  # the descriptor that lists the folder
    names = []
    for thread in os.listdir("/proc/self/task"):
        try:
            names.append(Path(f"/proc/self/task/{thread}/comm").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
    return Holdings(
        sockets=sum(str(link).startswith("socket:") for link in links),
        rdkafka_threads=sum(name.startswith("rdk:") for name in names),
        threads=len(names),
        descriptors=len(links),
    )


def allow_descriptors() -> None:
    """Raise the limit of open files to its maximum: a client needs about 12."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def versions() -> list[tuple[str, str]]:
    """Names and versions of the software and hardware of this run."""
    return [
        ("waterdrop-py", version("waterdrop-py")),
        ("confluent-kafka", version("confluent-kafka")),
        ("librdkafka", confluent_kafka.libversion()[0]),
        *((name, version(name)) for name in COMPARED),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("processor", f"{os.cpu_count()} x {_processor()}"),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or "unknown"
