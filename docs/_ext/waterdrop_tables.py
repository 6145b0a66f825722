"""Tables and help made from the code, and pictures for light and for dark pages.

```{waterdrop-table} options``` makes a table while the site is built.
```{waterdrop-picture} sockets``` shows `docs/pictures/sockets-light.svg` or, on a dark
page, `sockets-dark.svg`; its option `:alt:` is required.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from waterdrop_py import errors
from waterdrop_py._engine.connection.states import STATUS_MOVES
from waterdrop_py._engine.introspection.stats import ProducerStats
from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.durations import as_text
from waterdrop_py._settings.option_types import REQUIRED
from waterdrop_py._settings.pool_options import POOL_OPTIONS
from waterdrop_py._settings.redact import is_secret
from waterdrop_py.cli import _parser as cli_parser
from waterdrop_py.config import Config
from waterdrop_py.events import ERROR_TYPES, EVENTS, listener_method
from waterdrop_py.listeners._base import level_of
from waterdrop_py.monitor import Event
from waterdrop_py.pools import PoolStats, ProducerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sphinx.application import Sphinx

Rows = list[list[str]]
_ENTRY: Final = re.compile(r"^(\w+): (.*)$")


def described(doc: str | None, section: str = "Attributes") -> dict[str, str]:
    """The entries of a section of a docstring: each name with its sentence."""
    found: dict[str, str] = {}
    inside, name, indent = False, "", 0
    for line in (doc or "").splitlines():
        text = line.strip()
        if text == f"{section}:":
            inside = True
            indent = len(line) - len(line.lstrip())
        elif inside and text and len(line) - len(line.lstrip()) <= indent:
            break
        elif inside and text:
            entry = _ENTRY.match(text)
            at_entry = len(line) - len(line.lstrip()) == indent + 4
            if entry and at_entry:
                name = entry[1]
                found[name] = entry[2]
            elif name:
                found[name] += " " + text
    return found


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    text = re.sub(r"^ms\b", "milliseconds", text)
    text = re.sub(r"(\d) (\d{3})\b", "\\1\u00a0\\2", text)  # 30 000 on one line
    return text[:1].upper() + text[1:]


def _default(option: Any, text: str = "") -> str:
    value = option.default
    if value is REQUIRED:
        return "required"
    if text.startswith("ms"):
        return f"`{value}`" if value in (0, None) else f'`"{as_text(value)}"`'
    if isinstance(value, dict) or hasattr(value, "items"):
        return "`{}`"
    return f"`{value!r}`"


def options() -> Rows:
    """Every option of `Config`, with its default."""
    texts = described(Config.__doc__)
    return [
        ["option", "default", "meaning"],
        *(
            [f"`{name}`", _default(option, texts[name]), _sentence(texts[name])]
            for name, option in Config.OPTIONS.items()
        ),
    ]


def pool_options() -> Rows:
    """Every option of a pool."""
    texts = described(ProducerPool.__doc__, "Args")
    return [
        ["option", "default", "meaning"],
        *(
            [f"`{name}`", f"`{option.default!r}`", _sentence(texts.get(name, ""))]
            for name, option in POOL_OPTIONS.items()
        ),
    ]


def events() -> Rows:
    """Every event, with its payload and the level at which the listeners log it."""
    rows = [["event", "when", "payload", "level"]]
    for name, spec in EVENTS.items():
        keys = [f"`{key}`" for key in spec.payload]
        if spec.timed:
            keys.append("`duration_ms`")
        level = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}[
            level_of(Event(name, {}, {}))
        ]
        rows.append([f"`{name}`", spec.summary, ", ".join(keys), level])
    return rows


def listener_methods() -> Rows:
    """The name of a listener's method for each event."""
    return [
        ["event", "method"],
        *([f"`{name}`", f"`{listener_method(name)}`"] for name in EVENTS),
    ]


def error_types() -> Rows:
    """Every `type` of `error.occurred`."""
    return [
        ["type", "meaning"],
        *([f"`{name}`", text] for name, text in ERROR_TYPES.items()),
    ]


def _error_classes() -> Iterator[type[BaseException]]:
    for value in vars(errors).values():
        if (
            isinstance(value, type)
            and issubclass(value, BaseException)
            and not value.__name__.startswith("_")
        ):
            yield value


def error_classes() -> Rows:
    """Every error, its bases, and what it means."""
    rows = [["error", "is also", "meaning"]]
    for cls in _error_classes():
        bases = [
            f"`{base.__name__}`"
            for base in cls.__mro__[1:]
            if not base.__name__.startswith("_")
            and base not in (object, BaseException, Exception, errors.WaterdropError)
        ]
        first = (cls.__doc__ or "").strip().splitlines()[0]
        link = f"{{py:exc}}`~waterdrop_py.errors.{cls.__name__}`"
        rows.append([link, ", ".join(bases), first])
    return rows


def _differences(kafka: Mapping[str, Any]) -> dict[str, Any]:
    defaults = missing_defaults(kafka, statistics=True)
    defaults["client.id"] = "waterdrop-py-<hostname>"
    return defaults


_WHY: Final[Mapping[str, tuple[str, str]]] = {
    "client.id": ("rdkafka", "names the host in the broker's log"),
    "message.timeout.ms": (
        "300000",
        "ends before `max_wait_timeout`, so that a sync call sees the outcome; at most "
        "the `transaction.timeout.ms` that you set",
    ),
    "socket.nagle.disable": ("false", "a small message does not wait for the next one"),
    "socket.keepalive.enable": ("false", "the system finds connections that are dead"),
    "log.connection.close": ("true", "an idle connection that ends is no news"),
    "statistics.interval.ms": (
        "0",
        "only while something subscribes to `statistics.emitted`; else 0",
    ),
    "transaction.timeout.ms": (
        "60000",
        "only with a `transactional.id`; never below `message.timeout.ms`",
    ),
}


def defaults() -> Rows:
    """What the library sets where the user does not, and librdkafka's default."""
    rows = [["property", "here", "librdkafka", "why"]]
    for name, value in _differences({"transactional.id": "x"}).items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        theirs, why = _WHY[name]
        rows.append([f"`{name}`", f"`{text}`", f"`{theirs}`", _sentence(why)])
    return rows


def _fields(cls: Any) -> Rows:
    texts = described(cls.__doc__)
    return [
        ["field", "meaning"],
        *([f"`{name}`", _sentence(texts[name])] for name in cls.__dataclass_fields__),
    ]


def stats() -> Rows:
    """Every figure of `Producer.stats()`."""
    return _fields(ProducerStats)


def pool_stats() -> Rows:
    """Every figure of `ProducerPool.stats()`."""
    return _fields(PoolStats)


def statuses() -> Rows:
    """Every status and those that may follow."""
    return [
        ["status", "may be followed by"],
        *(
            [f"`{status}`", ", ".join(sorted(f"`{each}`" for each in moves)) or "none"]
            for status, moves in STATUS_MOVES.items()
        ),
    ]


def librdkafka_properties() -> Rows:
    """Every producer property that the library knows."""
    own = _differences({"transactional.id": "x"})
    rows = [["property", "same as", "default here", "values", "secret"]]
    for name in sorted(librdkafka.PROPERTIES):
        others = sorted(librdkafka.names_of(name) - {name})
        value = own.get(name)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        rows.append(
            [
                f"`{name}`",
                ", ".join(f"`{other}`" for other in others),
                "" if value is None else f"`{text}`",
                librdkafka.VALUES.get(name, ""),
                "hidden" if is_secret(name) else "",
            ]
        )
    return rows


def foreign_names() -> Rows:
    """Names of settings in other clients, and what they are called here."""
    return [
        ["elsewhere", "here"],
        *(
            [f"`{name.replace('.', '_')}`", f"`{meant}`"]
            for name, meant in sorted(librdkafka.FOREIGN.items())
        ),
        *(
            [f"`{name.replace('.', '_')}`", f"option `{meant}`"]
            for name, meant in sorted(librdkafka.FOREIGN_OPTIONS.items())
        ),
    ]


def help_texts() -> Iterator[str]:
    """What `waterdrop --help` prints, and the same of each of its commands."""
    os.environ["COLUMNS"] = "80"
    parser = cli_parser()
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command.format_help()


TABLES: Final[Mapping[str, Callable[[], Rows]]] = {
    "options": options,
    "pool-options": pool_options,
    "events": events,
    "listener-methods": listener_methods,
    "error-types": error_types,
    "errors": error_classes,
    "defaults": defaults,
    "stats": stats,
    "pool-stats": pool_stats,
    "statuses": statuses,
    "librdkafka-properties": librdkafka_properties,
    "foreign-names": foreign_names,
}


def markdown(rows: Rows) -> str:
    """The rows as a table; the first has the headings."""
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


class WaterdropTable(SphinxDirective):
    """A table that is made while the site is built."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the table as if it stood on the page."""
        name = self.arguments[0]
        if name not in TABLES:
            raise self.error(f"no table {name!r}; there are {', '.join(TABLES)}")
        return self.parse_text_to_nodes(markdown(TABLES[name]()))


class WaterdropHelp(SphinxDirective):
    """What the command line says of itself."""

    def run(self) -> list[nodes.Node]:
        """A block for each command."""
        return [
            nodes.literal_block(text, text, language="text") for text in help_texts()
        ]


class WaterdropPicture(SphinxDirective):
    """A picture that has a file for each colour scheme."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Show both files; the style sheet hides one."""
        if "alt" not in self.options:
            raise self.error("a picture needs :alt:")
        depth = self.env.docname.count("/")
        found: list[nodes.Node] = []
        for theme in ("light", "dark"):
            path = f"{'../' * depth}pictures/{self.arguments[0]}-{theme}.svg"
            image = nodes.image(uri=path, alt=self.options["alt"])
            image["classes"] += ["picture", f"only-{theme}"]
            found.append(image)
        frame = nodes.container("", *found, classes=["picture-frame"])
        return [frame]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive; Sphinx calls it."""
    app.add_directive("waterdrop-table", WaterdropTable)
    app.add_directive("waterdrop-help", WaterdropHelp)
    app.add_directive("waterdrop-picture", WaterdropPicture)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
