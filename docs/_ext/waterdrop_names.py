"""Links types to where they are documented, and names that are documented nowhere.

A class is defined in one module and exported by another. So
`waterdrop_py.producer.Producer` is documented as `waterdrop_py.Producer`. Annotations
name the first, so a reference that is missing is looked up by the end of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from sphinx.util.nodes import make_refnode

from waterdrop_py.config import Config

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# What annotations may name without an entry of its own: type variables, and types of
# libraries whose documentation has no anchor for them.
PLAIN = frozenset(
    {
        *("_F", "_E", "_K", "S", "NamedSignal", "blinker.base.NamedSignal"),
        *("REQUIRED", "UseDefaultLimit", "_ShortIdleTimeouts"),
        *("Components", "ShallowHealth", "Turn"),
    }
)
# Names that other inventories have in another place.
ELSEWHERE = {
    "concurrent.futures._base.Future": "concurrent.futures.Future",
    "KafkaException": "confluent_kafka.KafkaException",
    "confluent_kafka.cimpl.Message": "confluent_kafka.Message",
}
WITHOUT_INVENTORY = ("opentelemetry.", "prometheus_client.", "datadog.")
"""Packages whose inventory is not kept here."""
TYPES = frozenset({"class", "exc", "obj", "data", "func", "meth", "attr", "type"})


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Find the documented object that a reference to an undocumented name means."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or node.get("reftype") not in TYPES:
        return None
    if target.rpartition(".")[2] == "Option" or target.startswith(WITHOUT_INVENTORY):
        return content
    if target in ELSEWHERE:
        node["reftarget"] = ELSEWHERE[target]
        return None
    if target in PLAIN or target.rpartition(".")[2] in PLAIN:
        return content
    found = _documented(env, target)
    if found is None:
        return None
    name, page = found
    assert app.builder is not None
    return make_refnode(app.builder, node.get("refdoc", ""), page, name, content, name)


def _documented(env: BuildEnvironment, target: str) -> tuple[str, str] | None:
    """The only documented object with the same last words, and its page."""
    objects: dict[str, Any] = env.domaindata["py"]["objects"]
    words = target.split(".")
    sizes = (2, 1)
    if words[0] != "waterdrop_py" and len(words) > max(sizes):
        return None
    for size in sizes:
        if words[0] == "waterdrop_py" and len(words) <= size:
            continue
        ending = "." + ".".join(words[-size:])
        found = [
            (each.node_id, each.docname)
            for name, each in objects.items()
            if name.endswith(ending) and not each.aliased
        ]
        if len(found) == 1:
            return found[0]
    return None


def keep_colons(
    app: Sphinx, what: str, name: str, each: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from reading "How many; None: no limit" as a type and a text."""
    if what in {"attribute", "data", "property"} and lines and ":" in lines[0]:
        lines.insert(0, "\\ ")  # an escaped blank: nothing on the page


def name_what_raises(
    app: Sphinx, what: str, name: str, each: object, options: object, lines: list[str]
) -> None:
    """Give "What `x` raises" in a section `Raises` the form that napoleon reads."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith("What ") and "Raises:" in lines[:number]:
            indent = line[: len(line) - len(line.lstrip())]
            if indent:
                lines[number] = f"{indent}Exception: w{line.lstrip()[1:]}"


def hide_factories(
    app: Sphinx, what: str, name: str, each: object, options: object, *texts: str | None
) -> tuple[str | None, ...]:
    """Write `...` for the default of a dataclass' field that a factory makes."""
    return tuple(text and text.replace("<factory>", "...") for text in texts)


def show_kept_types() -> None:
    """Annotate each option with what its attribute returns, instead of a descriptor."""
    for name, hint in get_type_hints(Config).items():
        if name in Config.OPTIONS:
            Config.__annotations__[name] = get_args(hint)[1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the look-ups; Sphinx calls it."""
    show_kept_types()
    # Before intersphinx, and before napoleon.
    app.connect("missing-reference", resolve, priority=400)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", name_what_raises, priority=300)
    app.connect("autodoc-process-signature", hide_factories)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
