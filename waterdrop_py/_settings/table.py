"""Turns the options that a class body declares into a checked, immutable class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.foreign_names import SETTINGS
from waterdrop_py._settings.option_types import REQUIRED, Option, positional, properties
from waterdrop_py._settings.properties import Properties
from waterdrop_py._settings.redact import shown, shown_property
from waterdrop_py._settings.rejected import RefusedError
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    # Part of every type checker, and of `typing` from Python 3.11 on.
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Leave the class as it is."""
        return lambda cls: cls


_MISSING = "is required: a non-empty mapping of librdkafka properties"


@dataclass_transform(
    kw_only_default=True,
    frozen_default=True,
    field_specifiers=(properties, positional),
)
class OptionTable:
    """A class whose body declares options, and whose instances never change.

    An instance holds only the options that differ from the defaults; the defaults are
    attributes of the class. So the repr shows `vars(instance)`, and the digest that
    comparing keeps stands outside of it.
    """

    __slots__ = ("__dict__", "__weakref__", "_digest")
    OPTIONS: ClassVar[Mapping[str, Option[Any, Any]]] = {}
    _REQUIRED: ClassVar[Set[str]] = frozenset()
    _digest: bytes

    def __init_subclass__(cls) -> None:
        rows = {k: v for k, v in vars(cls).items() if isinstance(v, Option)}
        for name, option in rows.items():
            if option.default is REQUIRED:
                delattr(cls, name)
            else:
                setattr(cls, name, option.default)
        cls.OPTIONS = MappingProxyType(rows)
        cls._REQUIRED = {k for k, v in rows.items() if v.default is REQUIRED}

    def __init__(self, source: object = None, /, **options: Any) -> None:
        if source is not None:
            options = self._options_of(source, options)
        values, errors = self.checked(options)
        if errors:
            raise ConfigurationInvalidError(errors)
        self.__dict__.update(values)
        self._built()

    @classmethod
    def _options_of(cls, source: object, options: dict[str, Any]) -> dict[str, Any]:
        """For a subclass: merge the options of a source with keyword options."""
        raise NotImplementedError

    def _built(self) -> None:
        """For a subclass: called after a successful construction."""

    @classmethod
    def checked(
        cls, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Check the options: what differs from the defaults, and errors by path.

        Both are in the order of the table; a missing option comes first, unknown ones
        last.
        """
        values: dict[str, Any] = {}
        errors = dict.fromkeys(cls._REQUIRED - options.keys(), _MISSING)
        for name, option in cls.OPTIONS.items():
            if name not in options:
                continue
            try:
                value = option.check(options[name])
            except RefusedError as refused:
                errors[name] = str(refused)
            except ConfigurationInvalidError as invalid:
                errors.update(invalid.errors)
            else:
                if not _is_default(value, option.default):
                    values[name] = value
        if unknown := [name for name in options if name not in cls.OPTIONS]:
            _add_unknown(unknown, cls.OPTIONS, errors)
        return ({}, errors) if errors else (values, {})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a {type(self).__name__} is immutable; build another one to set {name!r}"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> bytes:
        """What is compared: a digest of what takes effect, made at the first look."""
        try:
            return self._digest
        except AttributeError:
            pass
        # Imported here: the import of the package needs none of the checks.
        from waterdrop_py._settings.in_force import digest

        made: bytes = digest(vars(self))
        object.__setattr__(self, "_digest", made)
        return made

    def __repr__(self) -> str:
        pairs = (f"{name}={_shown(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(pairs)})"

    def __copy__(self) -> OptionTable:
        return self

    def __deepcopy__(self, _memo: object) -> OptionTable:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is not picklable: it may hold secrets; "
            "build it in the process that uses it"
        )


def _add_unknown(
    names: Iterable[str], rows: Iterable[str], errors: dict[str, str]
) -> None:
    for name in names:
        errors[name] = _unknown(name, rows)
    if "kafka" in errors and any(_property(name) is not None for name in names):
        errors["kafka"] += "; did you mean kafka={...}?"


def _unknown(name: str, rows: Iterable[str]) -> str:
    dotted = name.lower().replace("_", ".").replace("-", ".")
    if dotted.endswith("serializer"):
        return (
            f"unknown option {name!r}; payloads and keys are bytes or str: serialize "
            "them before the call, or in a middleware"
        )
    found = foreign_setting(name)
    if found is not None and not found.is_property:
        return f"unknown option {name!r}; {found.sentence}"
    if found is not None or dotted in librdkafka.PROPERTIES:
        return _is_a_property(name, found.meant if found else dotted)
    if meant := option_meant(name.lower().replace(".", "_").replace("-", "_"), rows):
        return f"unknown option {name!r}; did you mean {meant!r}?"
    if meant := _property(name):
        return _is_a_property(name, meant)
    return f"unknown option {name!r}; the options are {', '.join(sorted(rows))}"


def _is_a_property(name: str, meant: str) -> str:
    return (
        f"unknown option {name!r}; it is a property of librdkafka: "
        f"did you mean kafka={{{meant!r}: ...}}?"
    )


class ForeignSetting(NamedTuple):
    """What a setting of another library is here: an option, a property, or neither."""

    meant: str
    is_property: bool
    sentence: str


def foreign_setting(name: str) -> ForeignSetting | None:
    """What a setting of another library is here; None if its name is not known."""
    dotted = name.lower().replace("_", ".").replace("-", ".")
    if answer := SETTINGS.get(dotted.replace(".", "_")):
        return ForeignSetting("", is_property=False, sentence=answer)
    option = librdkafka.FOREIGN_OPTIONS.get(dotted)
    meant = option or librdkafka.FOREIGN.get(dotted)
    if meant is None:
        return None
    return ForeignSetting(meant, option is None, f"did you mean {meant!r}?")


def option_meant(name: str, rows: Iterable[str]) -> str | None:
    """The option that was probably meant, or None.

    It is the only one with all these words, or the one spelt most alike.
    """
    return option_with_words(name, rows) or librdkafka.closest(name, rows)


def option_with_words(name: str, rows: Iterable[str]) -> str | None:
    """The only option with all words of a name such as `idle_timeout`, or None."""
    words = set(name.split("_"))
    with_words = [row for row in rows if words <= set(row.split("_"))]
    return with_words[0] if len(with_words) == 1 else None


def _property(name: str) -> str | None:
    if name in librdkafka.CALLBACKS:
        return name
    return librdkafka.property_meant(name)


def _is_default(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


def _shown(value: object) -> str:
    if isinstance(value, Properties):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, type):
        return value.__qualname__
    # The repr of a partial or a bound method would show the bound values.
    return shown_property("logger", value) if callable(value) else shown(value)
