"""Names of other libraries, and what to use here: Kafka clients, kombu, futures.

`answering.py` raises as Python would for such a name, with that text. Names of settings
that are a property or an option here stand in `librdkafka.FOREIGN` and
`FOREIGN_OPTIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEND: Final = "use produce_async(topic, payload), or produce_sync to wait as well"
_MANY: Final = "use produce_many_async(messages), or produce_many_sync to wait as well"
_BLOCK: Final = "use `with producer.transaction():`, which begins, commits and aborts"
_NATIVE: Final = "use `with producer.native() as client:` for the client that has it"
_CALLBACK: Final = (
    "use the handle of produce_async, or of AsyncProducer.send: "
    "handle.add_done_callback(fn), or `await handle`"
)
_FROM_URL: Final = "use Config.from_url(url)"
_AS_URL: Final = "use as_url()"
_REPLACE: Final = "use replace(**options), which makes another Config"
_RETRY: Final = (
    "librdkafka retries a send itself for message.timeout.ms, and sending it again may "
    "double it; connect(max_retries=, interval_start=) retries a connection"
)
_NO_HEARTBEAT: Final = (
    "Kafka has none: 'socket.keepalive.enable' (on by default) watches a connection, "
    "'socket.timeout.ms' finds a dead one, and 'idle_disconnect_timeout' closes an "
    "idle one"
)
_CONNECT: Final = (
    "give it to connect(max_retries=, interval_start=, interval_step=, interval_max=); "
    "librdkafka retries a send itself for message.timeout.ms"
)
_POOL: Final = "a producer has one client; ProducerPool(config, size=10) has several"
_FUTURE: Final = "use as_future() for a concurrent.futures.Future"

PRODUCER: Final[Mapping[str, str]] = {
    "produce": _SEND,
    "send": _SEND,
    "publish": _SEND,
    "send_and_wait": "use produce_sync(topic, payload)",
    "produce_batch": _MANY,
    "send_batch": _MANY,
    "produce_many": _MANY,
    "tombstone": "use tombstone_sync or tombstone_async",
    "flush_buffer": "use flush_buffer_sync or flush_buffer_async",
    "poll": "the library serves delivery reports; flush(timeout) waits for all of them",
    "list_topics": f"{_NATIVE}, or partition_count(topic)",
    "set_sasl_credentials": _NATIVE,
    "cluster_id": _NATIVE,
    "partitions_for": "use partition_count(topic)",
    "init_transactions": _BLOCK,
    "begin_transaction": _BLOCK,
    "commit_transaction": _BLOCK,
    "abort_transaction": f"{_BLOCK}; raise AbortTransaction in it to abort",
    "send_offsets_to_transaction": "use mark_as_consumed(consumer, messages)",
    "start": "the first send opens the client; connect() opens it now",
    "stop": "use close(timeout)",
    "shutdown": "use close(timeout)",
    "metrics": "use stats()",
    "bootstrap_connected": "use is_connected, or connect() to prove it",
    "ensure": _RETRY,
    "autoretry": _RETRY,
    "ensure_connection": "use connect(timeout, errback=, max_retries=)",
    "heartbeat_check": "librdkafka watches connections; see 'socket.keepalive.enable'",
    "as_uri": "use config.as_url()",
}
_ASYNC_SEND: Final = "use `await producer.send(topic, payload)`, which gives a handle"
_ASYNC_WAIT: Final = "use `await producer.produce(topic, payload)`"
_ASYNC_BLOCK: Final = "use `async with producer.transaction():`"
ASYNC_PRODUCER: Final[Mapping[str, str]] = {
    **{
        name: answer.replace("`with ", "`async with ")
        for name, answer in PRODUCER.items()
        if name not in {"produce", "send", "produce_many", "tombstone", "flush_buffer"}
    },
    **dict.fromkeys(("produce_async", "publish"), _ASYNC_SEND),
    **dict.fromkeys(("produce_sync", "send_and_wait"), _ASYNC_WAIT),
    **dict.fromkeys(
        ("produce_many_async", "produce_batch", "send_batch"),
        "use `await producer.send_many(messages)`",
    ),
    "produce_many_sync": "use `await producer.produce_many(messages)`",
    **dict.fromkeys(
        ("tombstone_sync", "tombstone_async"),
        "use `await producer.tombstone(topic, key=)`",
    ),
    **dict.fromkeys(
        ("tombstone_many_sync", "tombstone_many_async"),
        "use `await producer.tombstone_many(messages)`",
    ),
    **dict.fromkeys(
        ("flush_buffer_sync", "flush_buffer_async"),
        "use `await producer.flush_buffer()`",
    ),
    "start": "the first send opens the client; `await producer.connect()` opens it now",
    **dict.fromkeys(("stop", "shutdown", "aclose"), "use `await producer.close()`"),
    **dict.fromkeys(
        (
            "init_transactions",
            "begin_transaction",
            "commit_transaction",
            "abort_transaction",
        ),
        _ASYNC_BLOCK,
    ),
}
_LEASE: Final = "use `with pool.acquire() as producer:`"
_RELEASE: Final = (
    "release the lease: lease.release(), or the end of `with pool.acquire()`; there is "
    "no release by producer, so that no caller gives back what another one holds"
)
_CLOSE: Final = "use close(timeout); close(force=True) waits for nothing"
POOL: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("get", "getconn", "get_connection", "connection", "checkout", "lease", "pop"),
        _LEASE,
    ),
    **dict.fromkeys(
        ("put", "putconn", "put_connection", "release", "checkin", "push"), _RELEASE
    ),
    **dict.fromkeys(
        ("closeall", "dispose", "force_close_all", "shutdown", "stop", "disconnect"),
        _CLOSE,
    ),
    **dict.fromkeys(
        ("open", "start", "wait", "preload"),
        "acquire() opens what it needs; connect() opens and proves it now",
    ),
    **dict.fromkeys(
        ("get_stats", "pop_stats", "status", "checkedout", "checkedin", "qsize"),
        "use stats() and slots()",
    ),
    **dict.fromkeys(
        ("produce", "produce_sync", "produce_async", "produce_many_sync", "send"),
        f"a pool sends nothing itself: {_LEASE}",
    ),
    "check": "use health(deep=True)",
    "recreate": "use reload()",
    "limit": "use size, and resize(size)",
    "max_size": "use size",
    "min_size": "use min_connected",
}
ASYNC_POOL: Final[Mapping[str, str]] = {
    name: answer.replace("`with ", "`async with ") for name, answer in POOL.items()
}
GROUP: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("clear", "close", "close_all"), "use reset(), which closes the pools"
    ),
    **dict.fromkeys(
        ("create", "setdefault", "update"), "use group[key], which makes the pool"
    ),
    "get": "`key in group` asks, and group[key] makes the pool",
    "items": "use values(); each pool has its `config`",
    "keys": "iterate over the group, which gives the Configs",
    "pop": "use group[key].close(), with which the pool leaves the group",
}
CONFIG: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("parse_url", "parse", "from_uri", "from_dsn", "from_string", "from_str"),
        _FROM_URL,
    ),
    **dict.fromkeys(("from_environ", "from_environment"), "use Config.from_env()"),
    **dict.fromkeys(("from_dict", "from_mapping"), "use Config(mapping)"),
    **dict.fromkeys(("as_uri", "to_url", "url", "get_url"), _AS_URL),
    **dict.fromkeys(("clone", "evolve", "update", "with_options"), _REPLACE),
}
SETTINGS: Final[Mapping[str, str]] = {
    "heartbeat": _NO_HEARTBEAT,
    "virtual_host": "Kafka has none: topics are the only names in a cluster",
    **dict.fromkeys(
        ("max_retries", "interval_start", "interval_step", "interval_max"), _CONNECT
    ),
    **dict.fromkeys(
        ("max_connections", "pool_size", "client_limit", "min_connected"), _POOL
    ),
}
"""Settings that are neither a property nor an option here, with underscores."""
HANDLE: Final[Mapping[str, str]] = {
    "get": "use result(timeout)",
    "wait": "use result(timeout) or exception(timeout)",
    "poll": "the library serves delivery reports; result(timeout) waits for this one",
    "cancel": "what librdkafka has accepted cannot be cancelled; see producer.purge()",
    "cancelled": "a message cannot be cancelled; done() says whether it has an outcome",
    "running": "use `not handle.done()`",
    "is_done": "use done()",
    "succeeded": "use `handle.done() and handle.exception(0) is None`",
    "failed": "use `handle.done() and handle.exception(0) is not None`",
    "add_callback": "use add_done_callback(fn), which calls fn(handle)",
    "add_errback": "use add_done_callback(fn), which calls fn(handle)",
    "remove_done_callback": f"callbacks cannot be removed; {_FUTURE}",
    "set_result": "the delivery report sets the result",
    "set_exception": "the delivery report sets the exception",
    "set_running_or_notify_cancel": _FUTURE,
    "get_loop": "a handle belongs to no loop; `await` it in any",
    "_condition": f"{_FUTURE}, which concurrent.futures.wait and as_completed take",
    "_state": _FUTURE,
    "_waiters": _FUTURE,
    "_done_callbacks": _FUTURE,
    "_asyncio_future_blocking": "`await` it, or use asyncio.wrap_future(as_future())",
    "topic": "use message.topic",
    "value": "use message.payload",
    "key": "use message.key",
    "partition": "use result(timeout).partition",
    "offset": "use result(timeout).offset",
    "error": "use exception(timeout)",
}
REPORT: Final[Mapping[str, str]] = {
    "value": "use message.payload",
    "key": "use message.key",
    "headers": "use message.headers",
    "latency": "use latency_ms",
}
ARGUMENTS: Final[Mapping[str, str]] = {
    "value": "use payload",
    "msg": "use payload",
    "message": "use payload; the verbs for many take Message objects",
    "timestamp_ms": "use timestamp, which is in ms too",
    "on_delivery": _CALLBACK,
    "callback": _CALLBACK,
    "errback": _CALLBACK,
    "timeout": (
        "only produce_sync and AsyncProducer.produce wait for at most timeout seconds"
    ),
}
"""Foreign arguments; `Producer` and `AsyncProducer` answer them alike."""
