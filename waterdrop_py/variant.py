"""The same producer with other settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

# The producer's module needs this one: annotations name it by way of the package.
import waterdrop_py
from waterdrop_py._engine.assembly import Components
from waterdrop_py._settings.durations import milliseconds
from waterdrop_py._settings.librdkafka import names_of
from waterdrop_py._settings.plain import plain as plain_value
from waterdrop_py._settings.properties import Properties, copied
from waterdrop_py._settings.reading import merged
from waterdrop_py._settings.redact import shown
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py.errors import VariantInvalidError
from waterdrop_py.sender import Sender

# librdkafka's per-topic properties of a producer (CONFIGURATION.md, "Topic
# configuration properties", marked P) that may differ between messages.
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


class Variant(Sender):
    """The verbs of a producer, with other settings. Thread-safe; made by
    `Producer.variant`, and closed with its producer.

    With a `topic_config` it has a client of its own, shared with equal variants: one
    librdkafka client keeps one configuration for each topic, the first one it meets,
    and ignores later ones.
    """

    __slots__ = ("_producer",)

    def __init__(self, producer: waterdrop_py.Producer, components: Components) -> None:
        self._producer = producer
        self._adopt(components)

    @property
    def producer(self) -> waterdrop_py.Producer:
        """The producer that it is a variant of."""
        return self._producer

    def __repr__(self) -> str:
        return f"<Variant of {self._producer!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Variant cannot be copied or pickled: it owns a client")


def parts_of_variant(
    components: Components,
    topic_config: Mapping[str, Any] | None,
    max_wait_timeout: object,
) -> Components:
    """The parts of a variant, shared by all that have the same `topic_config`.

    Raises:
        VariantInvalidError: with every violation.
    """
    errors: dict[str, str] = {}
    patience = components.config.max_wait_timeout
    if max_wait_timeout is not None:
        try:
            patience = milliseconds(max_wait_timeout)
        except RefusedError as refused:
            errors["max_wait_timeout"] = str(refused)
    if topic_config is not None:
        errors |= _topic_config_errors(components, topic_config)
    if errors:
        raise VariantInvalidError(errors)
    base = components
    if topic_config:
        topic_config = copied(topic_config)[0]
        key = frozenset((name, str(value)) for name, value in topic_config.items())
        known = components.variants.get(key)
        base = known or components.variants.setdefault(
            key, _own(components, topic_config)
        )
    if patience == components.config.max_wait_timeout:
        return base
    return base.with_max_wait(patience / 1000)


def _own(components: Components, topic_config: Mapping[str, Any]) -> Components:
    kafka = Properties(merged(components.connection.factory.kafka, topic_config))
    brokers = components.connection.factory.brokers
    return components.assemble(
        components.config, components.emitter, components.middleware, kafka, brokers
    )


def _topic_config_errors(
    components: Components, topic_config: object
) -> dict[str, str]:
    if not isinstance(topic_config, Mapping) or not topic_config:
        return {
            "topic_config": "must be a non-empty mapping of per-topic properties such "
            f"as {{'acks': 1}}, got {shown(topic_config)}"
        }
    factory = components.connection.factory
    if factory.is_transactional:
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
        elif name in _ACKS and factory.is_idempotent:
            errors[path] = "an idempotent producer needs acks=all; leave it out"
    if not errors:
        from waterdrop_py._settings.librdkafka_check import check_properties

        plain, wrong = copied(topic_config)
        wrong = wrong or check_properties(plain)
        wrong = wrong or check_properties(merged(factory.kafka, plain))
        for path, sentence in wrong.items():
            name = path.removeprefix("kafka.")
            own = name in plain
            errors[f"topic_config.{name}" if own else "topic_config"] = sentence
    return errors
