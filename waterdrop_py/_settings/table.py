"""Turns the options that a class body declares into a checked, immutable class.

pydantic-core checks the options, on a schema that is built from the table. It gives
strict types (a bool is not an int), unknown names, and all violations in one pass. A
pydantic model would also bring `model_dump`, `model_copy` and pickling, which print
secrets or avoid the rules. Its error texts echo the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as schemas
from typing_extensions import dataclass_transform

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.option_types import REQUIRED, Option, positional, properties
from waterdrop_py._settings.properties import Properties
from waterdrop_py._settings.redact import shown, shown_property
from waterdrop_py.errors import ConfigurationInvalidError


@dataclass_transform(
    kw_only_default=True,
    frozen_default=True,
    field_specifiers=(properties, positional),
)
class OptionTable:
    """A class whose body declares options, and whose instances never change.

    An instance holds only the options that differ from the defaults; the defaults are
    attributes of the class. So the repr shows `vars(instance)`.
    """

    OPTIONS: ClassVar[Mapping[str, Option[Any, Any]]] = {}
    _validator: ClassVar[SchemaValidator]

    def __init_subclass__(cls) -> None:
        rows = {k: v for k, v in vars(cls).items() if isinstance(v, Option)}
        for name, option in rows.items():
            if option.default is REQUIRED:
                delattr(cls, name)
            else:
                setattr(cls, name, option.default)
        cls.OPTIONS = MappingProxyType(rows)
        fields = {
            name: schemas.typed_dict_field(
                option.schema, required=option.default is REQUIRED
            )
            for name, option in rows.items()
        }
        schema = schemas.typed_dict_schema(fields, extra_behavior="forbid")
        cls._validator = SchemaValidator(schema)

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
        """Check the options: what differs from the defaults, and errors by path."""
        try:
            values = cls._validator.validate_python(options)
        except ValidationError as invalid:
            # The exception holds every input, secrets too, so it is not passed on.
            return {}, _sentences(cls.OPTIONS, invalid)
        for name in list(values):
            if _is_default(values[name], cls.OPTIONS[name].default):
                del values[name]
        return values, {}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a {type(self).__name__} is immutable; build another one to set {name!r}"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        # Only the names, because values such as a mapping may not be hashable.
        return hash(frozenset(vars(self)))

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


def _sentences(
    rows: Mapping[str, Option[Any, Any]], invalid: ValidationError
) -> dict[str, str]:
    errors: dict[str, str] = {}
    property_as_option = False
    for error in invalid.errors(include_url=False):
        name, context = str(error["loc"][0]), error.get("ctx", {})
        if "sentences" in context:
            errors.update(context["sentences"])
        elif "sentence" in context:
            errors[name] = context["sentence"]
        elif error["type"] == "extra_forbidden":
            errors[name] = _unknown(name, rows)
            property_as_option = property_as_option or _property(name) is not None
        elif error["type"] == "missing":
            errors[name] = "is required: a non-empty mapping of librdkafka properties"
        else:
            errors[name] = _expected(rows[name], error["input"], context)
    if property_as_option and "kafka" in errors:
        errors["kafka"] += "; did you mean kafka={...}?"
    return errors


def _expected(
    option: Option[Any, Any], value: object, context: Mapping[str, Any]
) -> str:
    sentence = f"must be {option.expects}, got {shown(value)}"
    if "ge" in context:
        sentence += f"; the nearest legal value is {context['ge']}"
    return sentence


def _unknown(name: str, rows: Mapping[str, Option[Any, Any]]) -> str:
    dotted = name.lower().replace("_", ".").replace("-", ".")
    if dotted.endswith("serializer"):
        return (
            f"unknown option {name!r}; payloads and keys are bytes or str: serialize "
            "them before the call, or in a middleware"
        )
    if meant := librdkafka.FOREIGN_OPTIONS.get(dotted):
        return f"unknown option {name!r}; did you mean {meant!r}?"
    if dotted in librdkafka.FOREIGN or dotted in librdkafka.PROPERTIES:
        return _is_a_property(name, librdkafka.FOREIGN.get(dotted, dotted))
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


def option_meant(name: str, rows: Iterable[str]) -> str | None:
    """The option that was probably meant, or None.

    It is the only one with all these words (`idle_timeout`), or the one spelt most
    alike.
    """
    words = set(name.split("_"))
    with_words = [row for row in rows if words <= set(row.split("_"))]
    return with_words[0] if len(with_words) == 1 else librdkafka.closest(name, rows)


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
