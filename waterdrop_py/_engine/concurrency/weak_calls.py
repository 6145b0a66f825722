"""Calls to a method of an object that the call itself does not keep alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable


def call_if_alive(
    reference: weakref.ref[Any], method: Callable[..., object], *arguments: object
) -> None:
    """Call `method` of the object that `reference` refers to, if it lives.

    A `WeakMethod` would do, and take 0.75 KB for each.
    """
    owner = reference()
    if owner is not None:
        method(owner, *arguments)
