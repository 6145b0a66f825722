"""Errors that end a client for good, and what the user has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from waterdrop_py._engine.client.kafka_errors import code_name, produce_error

if TYPE_CHECKING:
    from waterdrop_py.errors import ProduceError

FENCING: Final = frozenset({"fenced", "producer_fenced", "invalid_producer_epoch"})
"""Codes with which coordinators and brokers answer an outdated epoch: another producer
has registered the id, or a transaction has timed out (Kafka 4.1)."""
TIMED_OUT: Final = "transaction_timed_out"


class Registration(NamedTuple):
    """What a transactional client registers, and its `transaction.timeout.ms`."""

    transactional_id: str
    timeout_ms: int


class Fatal(NamedTuple):
    """The fatal error of a client.

    `lasted`: the transaction's age in seconds when the error came, by the library's
    clock; None outside of a transaction.
    """

    native: Any
    registration: Registration | None = None
    lasted: float | None = None

    @property
    def code(self) -> str:
        """The code of `error()`."""
        code = code_name(self.native)
        if self.registration is None or code not in FENCING:
            return code
        over = (
            self.lasted is not None
            and self.lasted * 1000 > self.registration.timeout_ms
        )
        return TIMED_OUT if over else code

    def error(self) -> ProduceError:
        """A new error for each call: a shared one would collect traceback frames."""
        code, registration = self.code, self.registration
        error = produce_error(self.native, checklist=advice(code, registration))
        error.fatal = True
        if registration is not None and code == TIMED_OUT:
            error.code = TIMED_OUT
            error.args = (
                f"the transaction lasted {self.lasted or 0:.1f} s, and "
                f"transaction.timeout.ms is {registration.timeout_ms} ms: the "
                "coordinator has aborted it, and nothing of it is visible "
                f"({TIMED_OUT})",
            )
        elif registration is not None and code in FENCING:
            error.args = (
                f"another producer has registered the transactional.id "
                f"{registration.transactional_id!r}, and this one is fenced: "
                f"{error.args[0]}",
            )
        return error


def refusal_error(native: Any, registration: Registration | None) -> ProduceError:
    """The error of a refused message or command, when the client can go on."""
    return produce_error(native, checklist=advice(code_name(native), registration))


def advice(code: str, registration: Registration | None) -> tuple[str, ...]:
    """What to change so that the next attempt is not refused as well."""
    if registration is not None:
        name, timeout_ms = registration
        if code == TIMED_OUT:
            return (
                "raise transaction.timeout.ms in the producer's kafka settings (the "
                "broker's transaction.max.timeout.ms bounds it), or do less in one "
                "transaction",
                f"where another process may hold the transactional.id {name!r}, add "
                f"{TIMED_OUT!r} to non_reloadable_errors: its age cannot tell the two",
            )
        if code in FENCING:
            return (
                f"does another process use the transactional.id {name!r}? each "
                "producer needs an id of its own",
                "a new Producer with this id takes it back, and fences the other one",
            )
        if code == "transactional_id_authorization_failed":
            return (
                "the principal needs the ACLs Write and Describe on the "
                f"TransactionalId {name!r}",
            )
        if code == "invalid_transaction_timeout":
            return (
                f"transaction.timeout.ms is {timeout_ms} ms, and the broker's "
                "transaction.max.timeout.ms (900000 ms by default) is lower: lower "
                "the one, or raise the other",
            )
    return _ADVICE.get(code, ())


_ADVICE: Final[dict[str, tuple[str, ...]]] = {
    "cluster_authorization_failed": (
        "the principal needs the ACL IdempotentWrite on the Cluster (brokers before "
        "3.0), or enable.idempotence must be false",
    ),
    "topic_authorization_failed": (
        "the principal needs the ACLs Write and Describe on the Topic",
    ),
    "group_authorization_failed": (
        "the principal needs the ACL Read on the consumer's Group",
    ),
    "unsupported_version": (
        "the brokers are too old for it: idempotence and transactions need Kafka 0.11",
    ),
}
