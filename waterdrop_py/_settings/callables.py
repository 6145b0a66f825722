"""Checks that a user's callable takes the one argument that it will be called with."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

_ANY_ARGUMENT = object()


def subscriber_of(fn: object, name: str) -> Callable[[Any], object]:
    """Return `fn` if it can be subscribed to the event `name`.

    Raises:
        InvalidArgumentError: it cannot; the text says why.
    """
    if not callable(fn):
        raise InvalidArgumentError(
            f"the subscriber of {name!r} must be callable, got {shown(fn)}"
        )
    if inspect.iscoroutinefunction(fn):
        raise InvalidArgumentError(
            f"the subscriber of {name!r} is a coroutine function, which nothing would "
            f"await: {fn!r}"
        )
    parameters = signature_against(fn)
    if parameters is not None:
        raise InvalidArgumentError(
            f"the subscriber of {name!r} must take one positional argument, the event; "
            f"it takes {parameters}"
        )
    return fn


def signature_against(fn: Callable[..., object]) -> str | None:
    """The parameters of `fn` if it cannot be called with one positional argument.

    None if it can, or if it has no signature. Defaults are not shown, because they may
    be secrets. Of a wrapper, its own signature counts.
    """
    try:
        signature = inspect.signature(fn, follow_wrapped=False)
    except Exception:  # noqa: BLE001 - many callables written in C have none
        return None
    try:
        signature.bind(_ANY_ARGUMENT)
    except TypeError:
        return f"({', '.join(_parameters(signature))})"
    return None


def _parameters(signature: inspect.Signature) -> list[str]:
    """The parameters as Python writes them, defaults as `...`."""
    names = []
    starred = False
    for each in signature.parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            starred = True
            names.append(f"*{each.name}")
        elif each.kind is each.VAR_KEYWORD:
            names.append(f"**{each.name}")
        else:
            if each.kind is each.KEYWORD_ONLY and not starred:
                starred = True
                names.append("*")
            default = "" if each.default is each.empty else "=..."
            names.append(f"{each.name}{default}")
    return names
