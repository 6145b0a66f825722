"""Checks the `topic_config` of a variant: which properties it may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waterdrop_py._settings.librdkafka import names_of
from waterdrop_py._settings.plain import plain as plain_value
from waterdrop_py._settings.properties import copied
from waterdrop_py._settings.reading import merged
from waterdrop_py._settings.redact import shown

# librdkafka's topic properties of producers that may differ between messages. Source:
# CONFIGURATION.md, "Topic configuration properties", the rows marked `P`.
PER_TOPIC: Final = frozenset(
    {
        "acks",
        "request.required.acks",
        "request.timeout.ms",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "partitioner",
        "compression.codec",
        "compression.type",
        "compression.level",
    }
)
_ACKS: Final = names_of("acks")


def topic_config_errors(
    topic_config: object,
    kafka: Mapping[str, Any],
    *,
    is_transactional: bool,
    is_idempotent: bool,
) -> dict[str, str]:
    """Map each wrong path of a variant's `topic_config` to a sentence.

    `kafka` has the properties of the producer's own client.
    """
    if not isinstance(topic_config, Mapping) or not topic_config:
        return {
            "topic_config": "must be a non-empty mapping of per-topic properties such "
            f"as {{'acks': 1}}, got {shown(topic_config)}"
        }
    if is_transactional:
        return {
            "topic_config": "a transactional producer has one client, and one "
            "configuration for all topics; only max_wait_timeout may differ"
        }
    errors: dict[str, str] = {}
    for name in map(plain_value, topic_config):
        path = f"topic_config.{name}"
        if name not in PER_TOPIC:
            errors[path] = (
                f"is not per topic; must be one of {', '.join(sorted(PER_TOPIC))}"
            )
        elif name in _ACKS and is_idempotent:
            errors[path] = "an idempotent producer needs acks=all; leave it out"
    if not errors:
        from waterdrop_py._settings.librdkafka_check import check_properties

        plain, wrong = copied(topic_config)
        wrong = wrong or check_properties(plain)
        wrong = wrong or check_properties(merged(kafka, plain))
        for path, sentence in wrong.items():
            name = path.removeprefix("kafka.")
            own = name in plain
            errors[f"topic_config.{name}" if own else "topic_config"] = sentence
    return errors
