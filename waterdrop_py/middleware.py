"""Steps that every message goes through before it is validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from waterdrop_py._settings.callables import BEFORE, check_function
from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.message import Message, snapshot

Step: TypeAlias = Callable[[Message], Message]


class Middleware:
    """The steps of one producer, in order. Thread-safe; each change is one operation
    of a list.

    A step gets a `Message` and returns one, its own or another. What it raises
    reaches the caller unchanged, and nothing is sent.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps: list[Step] = list(steps)

    def append(self, step: Step) -> None:
        """Run `step` after all others, from the next message on.

        Args:
            step: a function from a `Message` to a `Message`.

        Example:
            >>> def traced(message):
            ...     return dataclasses.replace(message, headers={"trace": "abc"})
            >>> producer.middleware.append(traced)
            >>> producer.produce_sync("orders", b"first").message.headers
            [('trace', b'abc')]
        """
        self.steps.append(_checked(step))

    def prepend(self, step: Step) -> None:
        """Run `step` before all others, from the next message on; as `append`."""
        self.steps.insert(0, _checked(step))

    def run(self, message: Message) -> Message:
        """The message that the steps make of `message`.

        Raises:
            MessageInvalidError: a step returned no `Message`.
        """
        steps = tuple(self.steps)
        if steps:
            message = snapshot(message)  # a step may change what it finds
        for step in steps:
            message = step(message)
            if not isinstance(message, Message):
                raise MessageInvalidError(
                    {
                        "middleware": f"{step!r} must return a Message, got "
                        f"{kind(message)}"
                    }
                )
        return message


def _checked(step: Step) -> Step:
    check_function("step", step, "step(message)", BEFORE)
    return step
