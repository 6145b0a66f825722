"""Setting counters right that an exception left wrong; reports that never come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.client.pending import end_traces, resolve, subject_of
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.reports.giving_up import open_handles
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.reports.accounting import CloseAccounting
    from waterdrop_py.delivery import DeliveryHandle


def reconcile(
    client: Client, accounting: CloseAccounting | None, *, transactional: bool
) -> None:
    """Count numbers without a message as refused, and resolve what a foreign client
    never reports. Poll lock held.

    A signal handler may have raised after a message got its number and before it was
    produced. The numbers are read first. If then no send is in progress and the client
    has nothing, the numbers without an outcome have no message.
    """
    numbered = peek(client.sent)
    reports = client.reports
    handles = open_handles(client) if reports.foreign else []
    if client.busy() or reports.resending.holds:
        return
    client.counters_uncertain = False
    if handles:
        _resolve_lost(client, handles, accounting, transactional=transactional)
    client.count_off(numbered)


def _resolve_lost(
    client: Client,
    handles: list[DeliveryHandle],
    accounting: CloseAccounting | None,
    *,
    transactional: bool,
) -> None:
    """Resolve handles of a foreign client whose report never comes."""
    # If a signal handler raises in here, the poller continues.
    client.poll_soon(client)
    for handle in handles:
        error = ProduceError(
            f"{subject_of(handle)}: the client that client_factory made has "
            "nothing left to report: it must pass on_delivery on, and an exception "
            "in its own callback loses a report; the report is lost, and whether "
            "the message was delivered is not known (report_lost)",
            code="report_lost",
        )
        if transactional:
            client.transaction.lost_message()
        end_traces(handle, None, error)
        resolve(client, handle, None, error, accounting, given_up=False)
        client.arrived.append((handle, None, None))
    client.settle_here()
