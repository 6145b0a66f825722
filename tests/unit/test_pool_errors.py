"""Errors of pools: attributes, texts, copies, pickles, and what to retry."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import errors
from waterdrop_py.typing import LeaseHolder

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDERS = (
    LeaseHolder(1, "worker-7", "app.py:12", 1500.0),
    LeaseHolder(0, "MainThread", "app.py:40", 3.5),
)


def pickled(error: Any, protocol: int) -> Any:
    """The error after a pickle of this protocol."""
    return pickle.loads(pickle.dumps(error, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "fresh": errors.fresh,
    **{
        f"pickle-{protocol}": partial(pickled, protocol=protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
EXHAUSTED = (
    errors.PoolExhaustedError,
    errors.PoolTimeoutError,
    errors.TooManyRequestsError,
)


def exhausted(kind: type[errors.PoolExhaustedError]) -> errors.PoolExhaustedError:
    """An error with a value for each attribute."""
    return kind(
        "pool 'orders' has no free producer",
        pool="orders",
        size=2,
        leased=2,
        waiting=5,
        waited_ms=5000.25,
        holders=list(HOLDERS),
        checklist=["raise size (2)", "app.py:12 holds one"],
        retriable=False,
    )


@pytest.mark.parametrize("kind", EXHAUSTED)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies_keep_everything(
    kind: type[errors.PoolExhaustedError], copied: Callable[[Any], Any]
) -> None:
    """A copy or pickle has the type, the text and every attribute."""
    error = exhausted(kind)
    other = copied(error)
    assert other is not error
    assert type(other) is kind
    assert vars(other) == vars(error)
    assert other.args == error.args
    assert str(other) == str(error)
    assert other.holders == HOLDERS


@pytest.mark.parametrize("kind", EXHAUSTED)
def test_the_text_has_the_checklist(kind: type[errors.PoolExhaustedError]) -> None:
    """Each point of the checklist is a line of the text."""
    assert str(exhausted(kind)).split("\n") == [
        "pool 'orders' has no free producer",
        "  - raise size (2)",
        "  - app.py:12 holds one",
    ]


@pytest.mark.parametrize("kind", EXHAUSTED)
def test_what_may_be_left_out(kind: type[errors.PoolExhaustedError]) -> None:
    """Without holders and checklist both are empty, and the call may be retried."""
    error = kind("none", pool="p", size=1, leased=1, waiting=0, waited_ms=0.0)
    assert (error.holders, error.checklist, error.retriable) == ((), (), True)
    assert str(error) == "none"


@pytest.mark.parametrize(
    "kind", [errors.PoolError, errors.PoolClosedError, errors.LeaseReleasedError]
)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_plain_errors(
    kind: type[errors.PoolError], copied: Callable[[Any], Any]
) -> None:
    """An error with a text alone can be copied and pickled."""
    other = copied(kind("why"))
    assert (type(other), str(other)) == (kind, "why")


def test_the_classes() -> None:
    """Each error is caught by the classes that its users know."""
    for kind in (*EXHAUSTED, errors.PoolClosedError, errors.LeaseReleasedError):
        assert issubclass(kind, errors.PoolError)
    assert issubclass(errors.PoolError, errors.WaterdropError)
    assert issubclass(errors.PoolTimeoutError, TimeoutError)
    assert not issubclass(errors.TooManyRequestsError, TimeoutError)


def test_what_to_retry() -> None:
    """The tuples serve `except`; each error in them says whether a retry may help."""
    assert list(errors.CONNECTION_ERRORS) == [errors.BrokerUnreachableError]
    assert list(errors.RECOVERABLE_ERRORS) == [
        errors.BrokerUnreachableError,
        errors.PoolExhaustedError,
    ]
    for error in (
        errors.BrokerUnreachableError("why"),
        *(exhausted(kind) for kind in EXHAUSTED),
    ):
        with pytest.raises(errors.RECOVERABLE_ERRORS) as caught:
            raise error
        assert isinstance(caught.value.retriable, bool)
    for kind in (errors.PoolClosedError, errors.ProduceError, TimeoutError):
        assert not issubclass(kind, errors.RECOVERABLE_ERRORS)


def test_every_error_can_be_pickled() -> None:
    """No error of the module is left out: each survives a pickle with its text."""
    arguments: dict[str, Any] = {
        "errors": {"a": "b"},
        "message": "why",
        "code": "c",
        "pool": "p",
        "size": 1,
        "leased": 1,
        "waiting": 0,
        "waited_ms": 1.5,
    }
    found = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind)
        and issubclass(kind, Exception)
        and not kind.__name__.startswith("_")
    ]
    assert len(found) > 20
    for kind in found:
        needed = inspect.signature(kind).parameters if has_constructor(kind) else ()
        given = {name: arguments[name] for name in needed if name in arguments}
        error = kind(**given) if given else kind("why")
        for copied in COPIES.values():
            other = copied(error)
            assert (type(other), str(other)) == (kind, str(error))
            assert vars(other) == vars(error)


def has_constructor(kind: type[Exception]) -> bool:
    """Whether the library defines the constructor."""
    return inspect.isfunction(kind.__init__)


def test_a_holder() -> None:
    """A holder is immutable, hashable and can be pickled."""
    holder = HOLDERS[0]
    assert pickle.loads(pickle.dumps(holder)) == holder
    assert {holder} == {LeaseHolder(1, "worker-7", "app.py:12", 1500.0)}
    with pytest.raises(AttributeError):
        holder.slot = 2  # type: ignore[misc]
    assert not hasattr(holder, "__dict__")
