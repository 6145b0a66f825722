"""`explain_idle()`: why a client would, or would not, be disconnected now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py._engine.client.borrow_marks import borrower
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.unhooked_forks import check
from waterdrop_py._engine.connection.disconnecting import blockers
from waterdrop_py._engine.connection.states import Refusal

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection


@dataclass(frozen=True, slots=True)
class IdleReport:
    """Whether the client would be closed now, and if not, why not.

    Attributes:
        disconnectable: `disconnect()` would close it.
        due_in_ms: milliseconds until the idle (or age) deadline, 0 when it has passed;
            None without a client or a deadline.
        reasons: why it is not disconnected for idleness now. Each has a `code`
            (`in_flight`, `call`, `buffered`, `transaction`, `pinned`, `not_due`,
            `disabled`, `not_connected`, `closed`), a `count`, an `age_ms` and an
            `owner`, as far as they apply.
        timeout_ms: the idle timeout in force; None: never.
    """

    disconnectable: bool
    due_in_ms: float | None
    reasons: tuple[Refusal, ...]
    timeout_ms: float | None = None


def explain_idle(connection: Connection) -> IdleReport:
    """The report on `connection`. Takes no lock, opens nothing."""
    check()
    client = connection.current_client
    timeout_ms = connection.policy.timeout_ms
    if connection.is_closing:
        return IdleReport(False, None, (Refusal("closed", 0),), timeout_ms)
    if client is None:
        reasons = [Refusal("not_connected", 0)]
        if waiting := connection.hooks.calls_waiting:
            reasons.append(Refusal("call", waiting))
        return IdleReport(False, None, tuple(reasons), timeout_ms)
    reasons = blockers(connection, client)
    if not reasons and (theirs := _theirs(connection, client)):
        reasons.append(Refusal("in_flight", theirs))
    disconnectable = not reasons
    due_in_ms: float | None = None
    due = connection.policy.due_at(client)
    if due is None:
        reasons.append(Refusal("disabled", 0))
    else:
        due_in_ms = max(0.0, (due - clock.now()) * 1000)
        if due_in_ms > 0:
            reasons.append(Refusal("not_due", 0))
    return IdleReport(disconnectable, due_in_ms, tuple(reasons), timeout_ms)


@borrower
def _theirs(connection: Connection, client: Client) -> int:
    """How many messages users of `native()` have in flight.

    Asks the native client, so a mark keeps that from being destroyed meanwhile.
    """
    if not client.pins.ever:
        return 0
    try:
        client.borrows.append(None)
        return client.users_in_flight() if connection.client is client else 0
    finally:
        client.borrows.pop()
        if client.refusals:
            connection.reschedule()
