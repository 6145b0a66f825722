"""The verb `mark_as_consumed`: from consumed messages to collected positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterdrop_py._engine.transactions.offsets import checked_positions, listed_consumed
from waterdrop_py.errors import TransactionRequiredError

if TYPE_CHECKING:
    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.transactions.block import Transaction


def mark_as_consumed(
    transaction: Transaction | None,
    emitter: Emitter,
    consumer: Any,
    messages: Any,
    metadata: Any,
) -> None:
    """Collect the positions behind `messages`, for the commit of `transaction`.

    Asks no broker. Thread-safe.

    Raises:
        TransactionRequiredError: there is no transaction, or it ended meanwhile.
        TransactionalOffsetInvalidError: with every violation.
    """
    if transaction is None:
        raise TransactionRequiredError(
            "mark_as_consumed() must be called inside `with producer.transaction():`"
        )
    marked = listed_consumed(messages)
    single = len(marked) == 1 and marked[0] is messages
    positions = checked_positions(consumer, marked, metadata, single=single)
    transaction.consumed.add(consumer, positions)
    if not transaction.open:
        raise TransactionRequiredError(
            "the transaction ended in another thread as a message was marked as "
            "consumed"
        )
    if emitter.listens("transaction.marked_as_consumed"):
        emitter.emit(
            "transaction.marked_as_consumed",
            {"messages": marked, "metadata": metadata},
        )
