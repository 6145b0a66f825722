"""The result of `waterdrop demo --pool`: its figures, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterdrop_py.cli.demo.summary import Delivered, held

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

    def problems(self) -> list[str]:
        """What went wrong, in words; empty if all is well."""
        found = super().problems()
        awake = self.size - 1 - self.tail_asleep
        if awake:
            found.append(f"{awake} slots of the tail did not fall asleep")
        if self.tail is not None and self.tail.sockets:
            found.append(f"{self.tail.sockets} sockets of the tail stayed open")
        if (self.library_pools, self.library_opens) != (1, 1):
            found.append(
                f"the libraries had {self.library_pools} pools and "
                f"{self.library_opens} clients, instead of one"
            )
        if self.tenant_pools != self.tenants:
            found.append(f"{self.tenants} tenants had {self.tenant_pools} pools")
        return found

    def report(self) -> list[str]:
        """The figures, as lines."""
        rows = [
            ("service, in the burst", self.burst),
            ("  slot 0, then", self.slot_0),
            (f"  slots 1 to {self.size - 1}, then", self.tail),
            ("tenants, as they send", self.tenants_held),
            ("all pools, in the end", self.idle),
        ]
        return [
            *super().report(),
            f"libraries    {self.libraries}: pools {self.library_pools}, "
            f"clients opened {self.library_opens}",
            f"tenants      {self.tenants}: pools {self.tenant_pools}",
            *held("held", rows),
        ]
