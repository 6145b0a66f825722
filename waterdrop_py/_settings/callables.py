"""Whether a callable can be called as the library will call it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_SAID = object()


def signature_against(fn: Callable[..., object]) -> str | None:
    """The parameters of `fn`, if it cannot be called with one positional argument.

    None if it can, or if it does not say. Defaults are not shown: they may be secrets.
    A wrapper is asked itself, not what it wraps.
    """
    try:
        signature = inspect.signature(fn, follow_wrapped=False)
    except Exception:  # noqa: BLE001 - many callables of C have none
        return None
    try:
        signature.bind(_NOT_SAID)
    except TypeError:
        return f"({', '.join(_shown(signature))})"
    return None


def _shown(signature: inspect.Signature) -> list[str]:
    """The names of the parameters, in Python's notation."""
    shown = []
    starred = False
    for each in signature.parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            starred = True
            shown.append(f"*{each.name}")
        elif each.kind is each.VAR_KEYWORD:
            shown.append(f"**{each.name}")
        else:
            if each.kind is each.KEYWORD_ONLY and not starred:
                starred = True
                shown.append("*")
            default = "" if each.default is each.empty else "=..."
            shown.append(f"{each.name}{default}")
    return shown
