"""What every benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """The cluster to measure on, and how much time there is."""

    servers: str
    quick: bool

    def pick(self, full: T, quick: T) -> T:
        """`full` in a whole run, `quick` in one that has little time."""
        return quick if self.quick else full
