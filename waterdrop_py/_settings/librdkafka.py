"""Lists librdkafka's producer properties: names, aliases, values and files.

The lists serve hints and decide what a repr may show. librdkafka itself decides what is
legal (`librdkafka_check.py`), so properties of newer versions need no entry here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

CALLBACKS = ("error_cb", "stats_cb", "throttle_cb", "oauth_cb", "on_delivery", "logger")
"""What confluent-kafka takes in addition to librdkafka's properties."""
SERIALIZERS = (
    "key.serializer",
    "key.serializer.builder",
    "value.serializer",
    "value.serializer.builder",
)
"""What `SerializingProducer` takes in addition to librdkafka's properties."""
TOPIC_DEFAULTS = "default.topic.config"
SERVERS = "bootstrap.servers"
PLUGINS = "plugin.library.paths"

# Source: librdkafka 2.16, CONFIGURATION.md, the rows marked `P` and `*`.
PROPERTIES = frozenset(
    """
    acks allow.auto.create.topics api.version.fallback.ms api.version.request
    api.version.request.timeout.ms batch.num.messages batch.size
    bootstrap.servers broker.address.family broker.address.ttl
    broker.version.fallback builtin.features client.dns.lookup client.id
    client.rack compression.codec compression.level compression.type
    connections.max.idle.ms debug delivery.report.only.error delivery.timeout.ms
    enable.gapless.guarantee enable.idempotence enable.metrics.push
    enable.random.seed enable.sasl.oauthbearer.unsecure.jwt
    enable.ssl.certificate.verification enabled_events https.ca.location
    https.ca.pem internal.termination.signal linger.ms log.connection.close
    log.queue log.thread.name log_level max.in.flight
    max.in.flight.requests.per.connection message.copy.max.bytes
    message.max.bytes message.send.max.retries message.timeout.ms
    metadata.broker.list metadata.max.age.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy
    partitioner plugin.library.paths produce.offset.report
    queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages queue.buffering.max.ms queuing.strategy
    receive.message.max.bytes reconnect.backoff.jitter.ms
    reconnect.backoff.max.ms reconnect.backoff.ms request.required.acks
    request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms
    sasl.kerberos.keytab sasl.kerberos.kinit.cmd
    sasl.kerberos.min.time.before.relogin sasl.kerberos.principal
    sasl.kerberos.service.name sasl.mechanism sasl.mechanisms
    sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds
    sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include
    sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.jwt.template.file
    sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase
    sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.client.id
    sasl.oauthbearer.client.secret sasl.oauthbearer.config
    sasl.oauthbearer.extensions sasl.oauthbearer.grant.type
    sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method
    sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username
    security.protocol socket.blocking.max.ms socket.connection.setup.timeout.ms
    socket.keepalive.enable socket.max.fails socket.nagle.disable
    socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem
    ssl.certificate.location ssl.certificate.pem ssl.cipher.suites
    ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm
    ssl.engine.id ssl.engine.location ssl.key.location ssl.key.password
    ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers
    ssl.sigalgs.list statistics.interval.ms sticky.partitioning.linger.ms
    topic.blacklist topic.metadata.propagation.max.ms
    topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms
    topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse
    transaction.timeout.ms transactional.id
    """.split()  # noqa: SIM905
)

# Same source, column `Range`; partitioners from the property's description.
VALUES = {
    "broker.address.family": "any, v4, v6",
    "client.dns.lookup": "use_all_dns_ips, resolve_canonical_bootstrap_servers_only",
    "compression.codec": "none, gzip, snappy, lz4, zstd",
    "compression.type": "none, gzip, snappy, lz4, zstd",
    "metadata.recovery.strategy": "none, rebootstrap",
    "partitioner": (
        "random, consistent, consistent_random, murmur2, murmur2_random, "
        "fnv1a, fnv1a_random"
    ),
    "queuing.strategy": "fifo, lifo",
    "sasl.oauthbearer.assertion.algorithm": "RS256, ES256",
    "sasl.oauthbearer.grant.type": (
        "client_credentials, urn:ietf:params:oauth:grant-type:jwt-bearer"
    ),
    "sasl.oauthbearer.metadata.authentication.type": "none, azure_imds",
    "sasl.oauthbearer.method": "default, oidc",
    "security.protocol": "plaintext, ssl, sasl_plaintext, sasl_ssl",
    "ssl.endpoint.identification.algorithm": "none, https",
}
VALUES["acks"] = VALUES["request.required.acks"] = "all, or -1 to 1000"

MECHANISMS = ("GSSAPI", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

# Same source: the rows that say "Alias for".
_ALIASES = (
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"),
    (
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
    ),
)
_SAME = {name: names for names in _ALIASES for name in names}

# Properties whose value is a file that librdkafka reads when it opens a client.
FILES = (
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "ssl.engine.location",
    "https.ca.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
)

# Names in other clients: arguments of kafka-python and aiokafka, properties of Java,
# arguments of kombu's and amqp's connections. Other names of Kafka clients differ by an
# underscore only, or mean something else.
FOREIGN = {
    "buffer.memory": "queue.buffering.max.kbytes",
    "max.request.size": "message.max.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "reconnect.backoff.max": "reconnect.backoff.max.ms",
    "sasl.plain.username": "sasl.username",
    "sasl.plain.password": "sasl.password",
    "ssl.cafile": "ssl.ca.location",
    "ssl.cadata": "ssl.ca.pem",
    "ssl.certfile": "ssl.certificate.location",
    "ssl.keyfile": "ssl.key.location",
    "ssl.crlfile": "ssl.crl.location",
    "ssl.password": "ssl.key.password",
    "ssl.ciphers": "ssl.cipher.suites",
    "ssl.check.hostname": "ssl.endpoint.identification.algorithm",
    "ssl.truststore.location": "ssl.ca.location",
    "brokers": "bootstrap.servers",
    "servers": "bootstrap.servers",
    "hosts": "bootstrap.servers",
    "hostname": "bootstrap.servers",
    "host": "bootstrap.servers",
    "port": "bootstrap.servers",
    "alternates": "bootstrap.servers",
    "userid": "sasl.username",
    "username": "sasl.username",
    "password": "sasl.password",
    "login.method": "sasl.mechanism",
    "ssl": "security.protocol",
    "ssl.options": "ssl.ca.location",
    "ca.certs": "ssl.ca.location",
    "certfile": "ssl.certificate.location",
    "keyfile": "ssl.key.location",
    "connect.timeout": "socket.connection.setup.timeout.ms",
    "transport.options": "client.id",
    "client.properties": "client.id",
    "connection.name": "client.id",
}
# The same for names whose counterpart here is an option of `Config`.
FOREIGN_OPTIONS = {
    "max.block.ms": "wait_timeout_on_queue_full",
    "sasl.oauth.token.provider": "oauth_token_provider",
}


def names_of(name: str) -> frozenset[str]:
    """All names of a property: its aliases and its own."""
    return frozenset(_SAME.get(name) or (name,))


def own_name(name: str) -> str:
    """The name that stands for all names of a property."""
    bare = name if name in PROPERTIES else name.removeprefix("topic.")
    return _SAME[bare][0] if bare in _SAME else bare


@functools.cache
def spellings(name: str) -> tuple[str, ...]:
    """All names of a property, with and without the optional prefix `topic.`."""
    names = _SAME.get(name.removeprefix("topic.")) or (name.removeprefix("topic."),)
    return (name, *{*names, *(f"topic.{each}" for each in names)} - {name})


def property_meant(name: str) -> str | None:
    """The librdkafka property that `name` was probably meant to be, or None."""
    dotted = name.lower().replace("_", ".").replace("-", ".")
    if dotted in PROPERTIES:
        return dotted
    if dotted in FOREIGN:
        return FOREIGN[dotted]
    return closest(dotted, PROPERTIES)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` with the most similar spelling, if one is similar enough."""
    # 0.75 allows a missing or swapped letter in a short name, but not another word.
    from difflib import get_close_matches  # imported for misspelt names only

    return next(iter(get_close_matches(name, sorted(names), 1, 0.75)), None)
