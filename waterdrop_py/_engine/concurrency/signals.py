"""Functions that no signal handler breaks into as they begin."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_AFTER_YIELD_FROM: Final = 2


def unbroken(function: Callable[..., Any]) -> None:
    """Let no signal handler run between the call of `function` and its first line.

    A handler runs at the first bytecode that looks for one. When a signal arrives
    during a native poll, which releases the GIL, that is the beginning of the report's
    callback. If the handler raises there, confluent-kafka drops the report with the
    call (and the traceback, so that nothing can be mended): 250 of 1100 exceptions
    cost a report that way (Python 3.11, confluent-kafka 2.16.1, a timer's handler that
    raises during `produce_sync`), and none do with this.

    From Python 3.11 on, a function begins with RESUME, whose operand says where; the
    check for handlers is left out after a `yield from` (the `dis` module documents the
    operand). Python 3.10 leaves it out before a `try`, with which `function` begins.
    """
    code = function.__code__
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            changed = bytearray(code.co_code)
            changed[instruction.offset + 1] = _AFTER_YIELD_FROM
            function.__code__ = code.replace(co_code=bytes(changed))
            return
