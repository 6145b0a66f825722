"""Using the client for something else than a send."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from waterdrop_py._engine.reentrance import leaseholder

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.slot import ClientSlot
    from waterdrop_py.typing import KafkaClient

_T = TypeVar("_T")


@leaseholder
def use(
    slot: ClientSlot, call: Callable[[KafkaClient], _T], deadline: float | None
) -> _T:
    """`call(client)` with the open client, which stays open meanwhile.

    Opens one if need be; raises what `ClientSlot.ready` and `call` raise.
    """
    while True:
        life = slot.ready(deadline)
        try:
            # Within the `try`: CPython runs signal handlers after a call and not
            # before it, so whatever is raised here finds the mark set.
            life.inuse.append(None)
            client = life.client
            if slot.life is life and client is not None:
                return call(client)
        finally:
            life.inuse.pop()
            if life.refusals:
                slot.look_again()
