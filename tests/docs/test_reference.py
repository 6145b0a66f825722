"""Every public name has an entry in the reference."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.docs.running import ROOT
from tests.unit.test_type_hints import public_modules
from waterdrop_py.config import Config
from waterdrop_py.events import ERROR_TYPES, EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE: Final = sorted((ROOT / "docs" / "reference").glob("*.md"))
_DIRECTIVE: Final = re.compile(
    r"^\.\. auto(?:class|function|data|exception):: (?P<path>[\w.]+)(?:\(\))?\n"
    r"(?P<options>(?:   :[^\n]*\n)*)",
    re.MULTILINE,
)
# Public modules also hold what the engine shares with them; users need none of it.
OF_THE_ENGINE: Final = frozenset(
    {
        *("about", "fresh", "shared", "with_checklist"),
        *("did_you_mean", "listener_method", "matching", "methods_of"),
        *("require_event", "EventSpec"),
        *("only_counts", "on_shared_change", "report_of", "snapshot", "Sent", "Sender"),
        *("Totals", "TaskWakeup", "PoolTransaction", "AsyncSender", "on_worker"),
        *("TracedMessage", "traced", "untraced", "traces_of", "end_traces"),
        *("any_client_open", "close_at_exit"),
    }
)


class Entry(NamedTuple):
    """A directive of autodoc: the object, and its options."""

    path: str
    found: Any
    options: str


def entries() -> Iterator[Entry]:
    """All directives on the pages of the reference."""
    for page in REFERENCE:
        for match in _DIRECTIVE.finditer(page.read_text()):
            yield Entry(match["path"], resolve(match["path"]), match["options"])


def resolve(path: str) -> Any:
    """Import what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def public_names() -> Iterator[tuple[str, Any]]:
    """Every public class, function and alias, by the module that has it."""
    for module in public_modules():
        names = getattr(module, "__all__", None)
        if names is None:
            names = [name for name in vars(module) if _is_own(module, name)]
        for name in names:
            found = getattr(module, name)
            if not (
                name in OF_THE_ENGINE or name.startswith("_") or inspect.ismodule(found)
            ):
                yield f"{module.__name__}.{name}", found


def _is_own(module: Any, name: str) -> bool:
    found = vars(module)[name]
    if "TypeAlias" in str(vars(module).get("__annotations__", {}).get(name)):
        return True
    is_code = inspect.isclass(found) or inspect.isfunction(found)
    return is_code and found.__module__ == module.__name__


def test_every_public_name_has_an_entry() -> None:
    """A class, function, error, alias or double without one is found by no reader."""
    found = list(entries())
    paths = {entry.path.rpartition(".")[2] for entry in found}
    objects = [entry.found for entry in found]
    missing = sorted(
        {
            path
            for path, each in public_names()
            if not any(each is other for other in objects)
            and path.rpartition(".")[2] not in paths
        }
    )
    assert missing == []
    assert len(found) > 70


@pytest.mark.parametrize(
    "entry",
    [entry for entry in entries() if inspect.isclass(entry.found)],
    ids=lambda entry: entry.path,
)
def test_every_public_member_is_shown(entry: Entry) -> None:
    """A public method has a docstring, and the class's entry shows its members."""
    shown = {name for name in dir(entry.found) if _is_public(entry.found, name)}
    undocumented = {
        name for name in shown if not inspect.getdoc(getattr(entry.found, name))
    }
    assert undocumented == set()
    if shown:
        assert "members:" in entry.options


def _is_public(owner: type, name: str) -> bool:
    """Whether it is a method or property of a class of the library."""
    home = next((base for base in owner.__mro__ if name in vars(base)), None)
    if name.startswith("_") or home is None:
        return False
    member = vars(home)[name]
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    return inspect.isfunction(function) and home.__module__.startswith("waterdrop_py")


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("options", "options"),
        ("events", "events"),
        ("error-types", "error-types"),
        ("defaults", "defaults"),
        ("stats", "stats"),
        ("librdkafka-properties", "librdkafka-properties"),
        ("errors", "errors"),
    ],
)
def test_tables_are_made_from_the_code(page: str, table: str) -> None:
    """Nothing in these tables is kept in step by hand."""
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert f"```{{waterdrop-table}} {table}\n" in text


def test_what_the_tables_are_made_of() -> None:
    """Each option has a sentence in the docstring of `Config`; each event a summary."""
    doc = Config.__doc__ or ""
    missing = [name for name in Config.OPTIONS if f"        {name}: " not in doc]
    assert missing == []
    assert all(spec.summary for spec in EVENTS.values())
    assert all(ERROR_TYPES.values())
