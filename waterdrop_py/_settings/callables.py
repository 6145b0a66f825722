"""Checks that a user's callable can be called as the library will call it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.redact import kind, shown
from waterdrop_py.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

_ANY_ARGUMENT = object()
STARTS: Final = (
    "start the coroutine from a plain function, with "
    "asyncio.run_coroutine_threadsafe(coroutine, loop)"
)
"""What to do where the result does not matter."""
WAITS: Final = (
    "return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10) from a plain "
    "function"
)
"""What to do where a library thread needs the result."""
BEFORE: Final = "await what it needs before the call that runs it"
"""What to do where the call may run on the thread of a loop."""


def function_error(fn: object, contract: str, instead: str = STARTS) -> str | None:
    """The sentence against `fn` where a plain function belongs, None if it is one.

    `contract` shows how it is called; `instead` says what to do instead of `async`.
    """
    if not callable(fn):
        return f"must be callable as {contract}, got {shown(fn)}"
    return async_error(fn, instead)


def async_error(fn: object, instead: str = STARTS) -> str | None:
    """The sentence against a callable whose result would have to be awaited, or None.

    Sees through `functools.partial`. A plain function that returns a coroutine passes.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn) or _is_marked(fn):
        got = f"the coroutine function {_name_of(fn)}"
    elif inspect.isasyncgenfunction(fn):
        got = f"the async generator function {_name_of(fn)}"
    elif _is_async(getattr(type(fn), "__call__", None)):  # noqa: B004 - of the class
        got = f"{kind(fn)}, whose __call__ is async"
    else:
        return None
    return f"must be a plain function, because nothing awaits it, got {got}; {instead}"


def check_function(name: str, fn: object, contract: str, instead: str = STARTS) -> None:
    """Check an argument that is a plain function.

    Raises:
        InvalidArgumentError: it is not callable, or its result must be awaited.
    """
    sentence = function_error(fn, contract, instead)
    if sentence is not None:
        raise InvalidArgumentError(f"{name}: {sentence}")


def _is_async(fn: object) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)


def _is_marked(fn: object) -> bool:
    """Whether it is marked as a coroutine function; `inspect` sees that from Python
    3.12 on."""
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    return mark is not None and getattr(fn, "_is_coroutine", None) is mark


def _name_of(fn: object) -> str:
    return repr(getattr(fn, "__qualname__", type(fn).__qualname__))


def subscriber_of(fn: object, name: str) -> Callable[[Any], object]:
    """Return `fn` if it can be subscribed to the event `name`.

    Raises:
        InvalidArgumentError: it cannot; the text says why.
    """
    if not callable(fn):
        raise InvalidArgumentError(
            f"the subscriber of {name!r} must be callable, got {shown(fn)}"
        )
    sentence = async_error(fn)
    if sentence is not None:
        raise InvalidArgumentError(f"the subscriber of {name!r} {sentence}")
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
