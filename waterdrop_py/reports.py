"""The types of what producers say of themselves, for annotations.

The methods of a producer return them: `explain_idle` an `IdleReport`, `close` a
`DrainReport`, `health` a `Health`, and `stats` a `ProducerStats`.
"""

from __future__ import annotations

from waterdrop_py._engine.connection.ledger import Saved
from waterdrop_py._engine.connection.states import Refusal
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py._engine.introspection.idle import IdleReport
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py._engine.reports.accounting import DrainReport

__all__ = ["DrainReport", "Health", "IdleReport", "ProducerStats", "Refusal", "Saved"]
