"""Answers names of other libraries with ours, where they are used.

An attribute or argument that another library has raises as Python would, with a text
that says what to use here. The texts stand in `foreign_names.py`.
"""

from __future__ import annotations

import inspect
from abc import ABCMeta
from functools import update_wrapper, wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from waterdrop_py._settings.foreign_names import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_F = TypeVar("_F", bound="Callable[..., Any]")

ABSENT: Final[Any] = object()
"""Stands for a required argument that is missing, in a function of `implemented_by`."""


def no_attribute(owner: object, name: str, answer: str | None) -> NoReturn:
    """Raise the `AttributeError` for a name that `owner` lacks, with the answer."""
    if isinstance(owner, type):
        text = f"type object {owner.__name__!r} has no attribute {name!r}"
    else:
        text = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if answer is not None:
        text += f"; {answer}"
    raise AttributeError(text, name=name, obj=owner)


class Absent:
    """A name that a class lacks and answers: `hasattr` is False, reading it raises.

    A `__getattr__` would make Python look up every attribute the slow way. That was a
    quarter of what `produce_async` adds to librdkafka's time (Python 3.11).
    """

    __slots__ = ("_answer", "_name")

    def __init__(self, name: str, answer: str) -> None:
        self._name, self._answer = name, answer

    def __get__(self, owner: object, kind: type) -> NoReturn:
        no_attribute(kind if owner is None else owner, self._name, self._answer)


class Answering(ABCMeta):
    """The class of classes that answer foreign names.

    `dir` leaves the names out, because mocks with a spec have what `dir` lists. An
    `ABCMeta`, so that subclasses may be abstract.
    """

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        answers: Mapping[str, str] | None = None,
    ) -> Answering:
        """Make the class; `answers` maps each foreign name to a sentence."""
        made = super().__new__(cls, name, bases, namespace)
        made.answer(answers or {})
        return made

    def answer(cls, answers: Mapping[str, str]) -> None:
        """Answer these names too, except those that the class has."""
        for name, text in answers.items():
            if not hasattr(cls, name):
                setattr(cls, name, Absent(name, text))

    def __dir__(cls) -> list[str]:
        return [
            name
            for name in super().__dir__()
            if not any(isinstance(vars(kind).get(name), Absent) for kind in cls.__mro__)
        ]


class Patchable(metaclass=Answering):
    """The base of what sends. Tests may patch its methods, and set nothing else.

    So an instance has a `__dict__`.
    """

    __slots__ = ("__dict__",)

    def __dir__(self) -> list[str]:
        return sorted({*dir(type(self)), *vars(self)})

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(type(self), name):
            text = f"{type(self).__name__!r} object has no attribute {name!r} to set"
            raise AttributeError(text, name=name, obj=self)
        object.__setattr__(self, name, value)

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns a client")


def refuse(function: Callable[..., Any], /, *given: Any, **named: Any) -> NoReturn:
    """Raise the `TypeError` of a call whose arguments do not fit `function`."""
    parameters = inspect.signature(function).parameters
    verb = f"{function.__name__}()"
    for name in named:
        if name not in parameters:
            raise TypeError(
                f"{verb} has no argument {name!r}; {_answer(name, parameters)}"
            )
    positional = [
        each.name for each in parameters.values() if each.kind is not each.KEYWORD_ONLY
    ]
    for name in positional[: len(given)]:
        if name in named:
            raise TypeError(f"{verb} got multiple values for argument {name!r}")
    for name, parameter in parameters.items():
        place = positional.index(name) if name in positional else len(given)
        required = parameter.default is parameter.empty and name not in named
        if required and place >= len(given):
            hint = " (None, for a null payload)" if name == "payload" else ""
            raise TypeError(f"{verb} needs {name!r}{hint}")
    raise TypeError(
        f"{verb} takes {', '.join(positional[1:])} by position, and everything else by "
        "keyword"
    )


def refuse_send(
    function: Callable[..., Any],
    sender: object,
    topic: Any,
    payload: Any,
    /,
    *extra: Any,
    **wrong: Any,
) -> NoReturn:
    """`refuse`, for a verb that has `ABSENT` for what was not given."""
    if extra:
        refuse(function, sender, topic, payload, *extra, **wrong)
    both = {"topic": topic, "payload": payload}
    given = {name: value for name, value in both.items() if value is not ABSENT}
    refuse(function, sender, **given, **wrong)


def _answer(name: str, parameters: Iterable[str]) -> str:
    from difflib import get_close_matches  # imported for calls that fail only

    if name in ARGUMENTS:
        return ARGUMENTS[name]
    legal = [each for each in parameters if each != "self"]
    near = get_close_matches(name, legal, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(legal)}"


def answering(function: _F) -> _F:
    """Make a call whose arguments do not fit raise a `TypeError` that names ours."""

    @wraps(function)
    def verb(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:
                raise  # from inside the function: its arguments fit
        refuse(function, *given, **named)

    return verb  # type: ignore[return-value]


def awaited(function: _F) -> _F:
    """`answering`, for a coroutine function. The result is one, too."""

    @wraps(function)
    async def verb(*given: Any, **named: Any) -> Any:
        try:
            call = function(*given, **named)
        except TypeError:  # it has not begun: its arguments do not fit
            refuse(function, *given, **named)
        return await call

    return verb  # type: ignore[return-value]


def implemented_by(fast: Callable[..., Any]) -> Callable[[_F], _F]:
    """Run `fast` in place of the decorated function, which shows what callers see.

    For the verbs whose every call counts, because `answering` doubles the calls.
    `fast` collects what does not fit in `*extra` and `**wrong`, and calls
    `refuse_send`.
    """

    def decorate(function: _F) -> _F:
        update_wrapper(fast, function)
        fast.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return fast  # type: ignore[return-value]

    return decorate
