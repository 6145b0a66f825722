"""The result of `waterdrop demo --pool`: its figures, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py.cli.demo.summary import Delivered
from waterdrop_py.cli.demo.usage import shown

if TYPE_CHECKING:
    from waterdrop_py.cli.demo.usage import Resources


@dataclass(frozen=True)
class PoolOutcome(Delivered):
    """The measured figures of one run. Resources are None on a system without /proc.

    Attributes:
        size: producers of the service's pool.
        burst: what was held in the burst.
        slot_0: what slot 0 held afterwards, and
        tail: what was held beside it.
        tail_asleep: how many of the other slots were disconnected.
        libraries: how many there were, and
        library_pools: how many pools they had, and
        library_opens: how many clients were opened for them.
        tenants: how many there were, and
        tenant_pools: how many pools they had.
        tenants_held: what was held while they sent.
        end: what all pools held in the end.
        seconds: how long the demo took.
    """

    size: int
    burst: Resources | None
    slot_0: Resources | None
    tail: Resources | None
    tail_asleep: int
    libraries: int
    library_pools: int
    library_opens: int
    tenants: int
    tenant_pools: int
    tenants_held: Resources | None
    end: Resources | None
    seconds: float


def problems(outcome: PoolOutcome) -> list[str]:
    """What went wrong, in words; empty if all is well."""
    found = outcome.problems()
    awake = outcome.size - 1 - outcome.tail_asleep
    if awake:
        found.append(f"{awake} slots of the tail did not fall asleep")
    if outcome.tail is not None and outcome.tail.sockets:
        found.append(f"{outcome.tail.sockets} sockets of the tail stayed open")
    if (outcome.library_pools, outcome.library_opens) != (1, 1):
        found.append(
            f"the libraries had {outcome.library_pools} pools and "
            f"{outcome.library_opens} clients, instead of one"
        )
    if outcome.tenant_pools != outcome.tenants:
        found.append(f"{outcome.tenants} tenants had {outcome.tenant_pools} pools")
    if outcome.end is not None and outcome.end.sockets:
        found.append(f"{outcome.end.sockets} sockets stayed open while idle")
    return found


def report(outcome: PoolOutcome) -> list[str]:
    """The figures, as lines that fit into 80 columns."""
    return [
        outcome.counts(),
        f"service       in the burst: {shown(outcome.burst)}",
        f"              slot 0, then: {shown(outcome.slot_0)}",
        f"              slots 1 to {outcome.size - 1}, then: {shown(outcome.tail)}",
        f"libraries     {outcome.libraries}: pools {outcome.library_pools}, clients "
        f"opened {outcome.library_opens}",
        f"tenants       {outcome.tenants}: pools {outcome.tenant_pools}",
        f"              while they send: {shown(outcome.tenants_held)}",
        f"in the end    {shown(outcome.end)}",
    ]


def conclusion(outcome: PoolOutcome) -> str:
    """The verdict, in one line."""
    found = problems(outcome)
    if found:
        return f"FAILED: {'; '.join(found)} ({outcome.seconds:.1f} s)"
    stayed = "sockets not counted: no /proc"
    if outcome.end is not None:
        stayed = "no idle slot kept a socket"
    return f"OK: nothing lost, nothing duplicated, {stayed} ({outcome.seconds:.1f} s)"
