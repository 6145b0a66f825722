"""Which library has replaced threads by greenlets, and what that changes."""

from __future__ import annotations

import _thread
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from waterdrop_py._engine.concurrency import cooperative, native
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py.errors import TuningWarning


def replace_threads(monkeypatch: pytest.MonkeyPatch, name: str, patched: Any) -> None:
    """Have `name`, a module of a library, say whether it has replaced threads."""
    module = ModuleType(name)
    if patched is not None:
        asked = "is_module_patched" if "gevent" in name else "is_monkey_patched"
        setattr(module, asked, lambda _: patched)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)


@pytest.mark.parametrize(
    ("module", "patched", "name"),
    [
        ("gevent.monkey", True, "gevent"),
        ("gevent.monkey", False, None),
        ("gevent.monkey", None, None),  # half imported
        ("eventlet.patcher", True, "eventlet"),
        ("pydevd", True, None),  # a debugger wraps the start of threads
    ],
)
def test_what_has_replaced_threads(
    module: str, patched: Any, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what says that it has; a function in the place of the native one alone may
    be a debugger's."""
    assert native.replaced_by() is None
    replace_threads(monkeypatch, module, patched)
    assert native.replaced_by() == name


def test_eventlet_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait stops its hub, and works."""
    replace_threads(monkeypatch, "eventlet.patcher", True)
    monkeypatch.setattr(cooperative, "_warned", [])
    wakeup = Wakeup()
    with pytest.warns(TuningWarning, match="eventlet has replaced threads"):
        assert not wakeup.wait(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wakeup()
        assert wakeup.wait(0)


def test_a_library_thread_has_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits natively, also if user code has made a hub there."""
    replace_threads(monkeypatch, "gevent.monkey", True)
    monkeypatch.setattr(native, "LIBRARY", {*native.LIBRARY, native.thread_id()})
    assert cooperative.hub_of_thread() is None
    assert not Wakeup().wait(0)
