"""Asks librdkafka what kind of value each property takes, without starting a client.

How librdkafka refuses a nonsensical value tells the kind.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException, cimpl

OUTSIDE_RANGE: Final = re.compile(r"outside allowed range (-?\d+)\.\.(-?\d+)")
_BOGUS_PROPERTY: Final = "waterdrop.probe"
_BOGUS_VALUE: Final = "waterdrop-probe"


class Kind(NamedTuple):
    """Which values a property takes, as far as librdkafka tells."""

    number: str = ""  # "whole", "decimal", or empty for a property that is not a number
    enumerated: bool = False
    boolean: bool = False
    known: bool = True
    low: int = 0
    high: int = 0


@functools.lru_cache(maxsize=512)
def kind_of(name: str) -> Kind:
    """The kind of a property. Thread-safe. Takes some microseconds, once a name."""
    refused = refusal({name: _BOGUS_VALUE}) or ""
    if refused.startswith("No such configuration property"):
        return Kind(known=False)
    if refused.startswith(("Expected bool value", "Bool config")):
        return Kind(boolean=True)
    if refused.startswith("Invalid value for"):
        bounds = [
            OUTSIDE_RANGE.search(refusal({name: figure}) or "")
            for figure in (-(2**31), 2**31 - 1)
        ]
        found = bounds[0] or bounds[1]
        if found is None:
            # Either every int is in its range, or it is not a number (a partitioner).
            taken = refusal({name: 2**31 - 1}) is None
            return Kind("whole", low=-(2**31), high=2**31 - 1) if taken else Kind()
        low, high = int(found[1]), int(found[2])
        fraction = refusal({name: ".5"}) or ""
        number = "whole" if fraction.startswith("Invalid value") else "decimal"
        return Kind(number, low=low, high=high)
    return Kind(enumerated=refused.startswith(f'Invalid value "{_BOGUS_VALUE}'))


def refusal(kafka: dict[str, Any]) -> str | None:
    """What librdkafka has against these properties, or None."""
    try:
        cimpl.Producer({**kafka, _BOGUS_PROPERTY: ""})
    except KafkaException as error:
        text = str(error.args[0].str()).strip()
    except (TypeError, ValueError, AttributeError, SystemError) as error:
        text = str(error)
    else:  # pragma: no cover - no librdkafka takes the bogus property
        return None
    return None if f'"{_BOGUS_PROPERTY}"' in text else text
