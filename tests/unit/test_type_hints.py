"""`typing.get_type_hints` works on everything public."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from typing import TYPE_CHECKING, Any

import waterdrop_py
from waterdrop_py import Config, Message, Producer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = ("__init__", "__enter__", "__exit__", "__call__", "__await__")


def public_modules() -> Iterator[Any]:
    """The package and its public modules, without the command line."""
    yield waterdrop_py
    for found in pkgutil.walk_packages(waterdrop_py.__path__, "waterdrop_py."):
        parts = found.name.split(".")[1:]
        if parts[0] != "cli" and not any(part.startswith("_") for part in parts):
            yield importlib.import_module(found.name)


def public_owners() -> Iterator[tuple[str, Any]]:
    """Functions, classes and methods of the modules, inherited ones too."""
    for module in public_modules():
        for name, owner in list(vars(module).items()):
            if name.startswith("_") or not is_ours(owner):
                continue
            if inspect.isclass(owner):
                yield f"{module.__name__}.{name}", owner
                yield from methods(f"{module.__name__}.{name}", owner)
            elif inspect.isfunction(owner):
                yield f"{module.__name__}.{name}", owner


def is_ours(owner: Any) -> bool:
    """Whether the object is of a public module of the library."""
    parts = str(getattr(owner, "__module__", "")).split(".")
    return parts[0] == "waterdrop_py" and not any(p.startswith("_") for p in parts[1:])


def methods(path: str, owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class."""
    for base in owner.__mro__:
        if base.__module__.split(".")[0] != "waterdrop_py":
            continue
        for name, each in vars(base).items():
            function = getattr(each, "fget", None) or getattr(each, "__func__", each)
            if inspect.isfunction(function) and (name[0] != "_" or name in _MAGIC):
                yield f"{path}.{name}", function


def test_the_types_of_everything_public_can_be_looked_up() -> None:
    """No annotation names something that only type checkers import."""
    wrong = {}
    count = 0
    for path, owner in public_owners():
        count += 1
        try:
            typing.get_type_hints(owner)
        except Exception as error:  # noqa: BLE001 - collected
            wrong[path] = repr(error)
    assert wrong == {}
    assert count > 200


def test_what_is_returned_can_be_looked_up() -> None:
    """The classes that public methods return have type hints too."""
    for name in ("close", "stats", "health", "explain_idle", "status"):
        member = inspect.getattr_static(Producer, name)
        hints = typing.get_type_hints(getattr(member, "fget", member))
        assert typing.get_type_hints(hints["return"]) is not None
    for function in (waterdrop_py.ledger, waterdrop_py.health):
        answer = typing.get_type_hints(function)["return"]
        assert all(typing.get_type_hints(answer).values())


def test_the_types_themselves() -> None:
    """The type hints are those of the annotations."""
    assert typing.get_type_hints(Message)["topic"] is str
    assert typing.get_type_hints(Producer.produce_sync)["return"].__name__ == (
        "DeliveryReport"
    )
    assert "kafka" in typing.get_type_hints(Config)
