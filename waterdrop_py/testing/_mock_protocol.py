"""What can be asked of the mock cluster: its requests and errors, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Kafka's protocol numbers of the requests that librdkafka's mock cluster serves, under
# the names that the protocol guide and librdkafka's own log lines give them.
API_KEYS = {
    "Produce": 0,
    "Fetch": 1,
    "ListOffsets": 2,
    "Metadata": 3,
    "OffsetCommit": 8,
    "OffsetFetch": 9,
    "FindCoordinator": 10,
    "JoinGroup": 11,
    "Heartbeat": 12,
    "LeaveGroup": 13,
    "SyncGroup": 14,
    "ApiVersion": 18,
    "InitProducerId": 22,
    "OffsetForLeaderEpoch": 23,
    "AddPartitionsToTxn": 24,
    "AddOffsetsToTxn": 25,
    "EndTxn": 26,
    "TxnOffsetCommit": 28,
}
MAX_BROKERS = 64
MAX_PARTITIONS = 1_000
MAX_RTT_MS = 60_000
CODE_LIMITS = (-32_768, 32_767)  # an error code is an int16 on the wire
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


def error_codes() -> dict[str, int]:
    """The errors that can be pushed: every broker error, and `transport`.

    For `transport` the mock broker closes the connection instead of answering.
    """
    codes = {
        name.lower(): code
        for name, code in vars(KafkaError).items()
        if name.isupper() and not name.startswith("_") and isinstance(code, int)
    }
    return {**codes, "transport": KafkaError._TRANSPORT}  # noqa: SLF001


def api_key(name: str) -> int:
    """The protocol's number of a request."""
    if name not in API_KEYS:
        raise ValueError(
            f"unknown request {name!r}; the mock cluster knows {_listing(API_KEYS)}"
        )
    return API_KEYS[name]


def codes_of(errors: Sequence[int | str]) -> list[int]:
    """The code of each error, given as a code or as a lower-case name."""
    known = error_codes()
    if not errors:
        raise ValueError(f"no error given; known are {_listing(known)}")
    return [_code_of(error, known) for error in errors]


def _code_of(error: int | str, known: dict[str, int]) -> int:
    if isinstance(error, str) and error in known:
        return known[error]
    if type(error) is int and CODE_LIMITS[0] <= error <= CODE_LIMITS[1]:
        return error
    raise ValueError(
        f"unknown error {error!r}; give a code from {CODE_LIMITS[0]} to "
        f"{CODE_LIMITS[1]}, or one of {_listing(known)}"
    )


def whole_number(value: int, what: str, low: int, high: int) -> int:
    """`value`, which must be an int (not a bool) within the limits."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what} must be an int from {low} to {high}, got {value!r}")
    return value


def topic_name(name: str) -> str:
    """`name`, which Kafka must accept."""
    if not isinstance(name, str) or not TOPIC.fullmatch(name):
        raise ValueError(
            "a topic's name is 1 to 249 of the characters A-Z a-z 0-9 . _ -, "
            f"not {name!r}"
        )
    return name


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names)
