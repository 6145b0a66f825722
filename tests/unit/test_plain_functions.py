"""Where the library calls a function of the user's, it must be a plain one."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import (
    AsyncProducer,
    Config,
    DeliveryHandle,
    Monitor,
    Producer,
    ProducerPool,
)
from waterdrop_py._engine.introspection.probe import Retries
from waterdrop_py.errors import ConfigurationInvalidError, InvalidArgumentError
from waterdrop_py.middleware import Middleware
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KAFKA = {"bootstrap.servers": "fake:9092"}
NAME = "producer.closed"


async def coroutine(*_: Any) -> None:
    """Would have to be awaited."""
    raise AssertionError("it ran")


async def generator(*_: Any) -> AsyncIterator[None]:
    """Would have to be iterated."""
    yield


class Asynchronous:
    """Is called, and would have to be awaited."""

    async def __call__(self, *_: Any) -> None:
        """Would have to be awaited."""

    async def method(self, *_: Any) -> None:
        """Would have to be awaited."""

    async def on_producer_closed(self, _: Any) -> None:
        """Would have to be awaited."""


FUNCTIONS = {
    "coroutine function": coroutine,
    "async generator function": generator,
    "partial": functools.partial(coroutine, "s3cret"),
    "partial of a partial": functools.partial(functools.partial(coroutine), 1),
    "method": Asynchronous().method,
    "object": Asynchronous(),
    "verb of an AsyncProducer": AsyncProducer.flush,
    "partial of an object": functools.partial(Asynchronous(), "s3cret"),
}
EACH = pytest.mark.parametrize("fn", FUNCTIONS.values(), ids=FUNCTIONS)


def refused(error: BaseException, field: str, instead: str) -> None:
    """It names the field, what was given, and what to do, and shows no argument."""
    text = str(error)
    assert field in text
    assert "must be a plain function" in text
    assert instead in text
    assert any(each in text for each in ("coroutine", "generator", "Async"))
    assert "s3cret" not in text


@EACH
@pytest.mark.parametrize(
    ("field", "options", "instead"),
    [
        ("middleware", lambda fn: {"middleware": [abs, fn]}, "await what it needs"),
        (
            "oauth_token_provider",
            lambda fn: {"oauth_token_provider": fn},
            ".result(10)",
        ),
        ("client_factory", lambda fn: {"client_factory": fn}, ".result(10)"),
    ],
)
def test_options_are_plain_functions(
    fn: Any, field: str, options: Callable[[Any], dict[str, Any]], instead: str
) -> None:
    """An option that would have to be awaited is refused by its name."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config(kafka=KAFKA, **options(fn))
    assert list(invalid.value.errors) == [field]
    refused(invalid.value, field, instead)


@EACH
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("error_cb", "run_coroutine_threadsafe"),
        ("stats_cb", "run_coroutine_threadsafe"),
        ("throttle_cb", "run_coroutine_threadsafe"),
        ("on_delivery", "run_coroutine_threadsafe"),
        ("oauth_cb", ".result(10)"),
    ],
)
def test_callbacks_are_plain_functions(fn: Any, name: str, instead: str) -> None:
    """A callback in `kafka` that would have to be awaited is refused by its path."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Producer(kafka={**KAFKA, name: fn})
    assert list(invalid.value.errors) == [f"kafka.{name}"]
    refused(invalid.value, f"kafka.{name}", instead)


def test_a_loggers_log_is_a_plain_function() -> None:
    """An object whose `log` would have to be awaited is not a logger."""

    class Logger(logging.Logger):
        async def log(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
            """Would have to be awaited."""

    with pytest.raises(ConfigurationInvalidError) as invalid:
        Producer(kafka={**KAFKA, "logger": Logger("x")})
    assert "log must be a plain function" in invalid.value.errors["kafka.logger"]


@EACH
def test_a_pools_configurations_come_from_a_plain_function(fn: Any) -> None:
    """A callable `config` that would have to be awaited is refused, uncalled."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        ProducerPool(fn)
    assert list(invalid.value.errors) == ["config"]
    refused(invalid.value, "config", "await what it needs")
    with ProducerPool({"kafka": KAFKA}) as pool:
        with pytest.raises(ConfigurationInvalidError) as invalid:
            pool.reload(fn)
        assert list(invalid.value.errors) == ["config"]


@EACH
def test_steps_are_plain_functions(fn: Any) -> None:
    """A step that would have to be awaited is not added."""
    middleware = Middleware(())
    for add in (middleware.append, middleware.prepend):
        with pytest.raises(InvalidArgumentError) as invalid:
            add(fn)
        refused(invalid.value, "step", "await what it needs")
    assert list(middleware.steps) == []


@EACH
def test_subscribers_are_plain_functions(fn: Any) -> None:
    """A subscriber that would have to be awaited is refused at once."""
    monitor = Monitor()
    with pytest.raises(InvalidArgumentError) as invalid:
        monitor.subscribe(NAME, fn)
    refused(invalid.value, NAME, "run_coroutine_threadsafe")
    with pytest.raises(InvalidArgumentError) as invalid:
        monitor.on(NAME)(fn)
    refused(invalid.value, NAME, "run_coroutine_threadsafe")
    assert not monitor.listens(NAME)


def test_methods_of_listeners_are_plain_functions() -> None:
    """A listener whose method would have to be awaited is refused."""
    with pytest.raises(InvalidArgumentError) as invalid:
        Monitor().subscribe(Asynchronous())
    refused(invalid.value, NAME, "run_coroutine_threadsafe")


@EACH
def test_errbacks_are_plain_functions(fn: Any) -> None:
    """An `errback` that would have to be awaited is refused, and nothing is opened."""
    client = BufferedClient()
    options = {"kafka": KAFKA, "client_factory": lambda _: client}
    with Producer(options) as producer:
        with pytest.raises(InvalidArgumentError) as invalid:
            producer.connect(errback=fn)
        refused(invalid.value, "errback", "run_coroutine_threadsafe")
        assert not producer.is_connected
    with ProducerPool(options) as pool:
        with pytest.raises(InvalidArgumentError) as invalid:
            pool.connect(errback=fn)
        refused(invalid.value, "errback", "run_coroutine_threadsafe")
        assert pool.stats().opens == 0


@EACH
def test_done_callbacks_are_plain_functions(fn: Any) -> None:
    """A done callback that would have to be awaited is refused, done or not."""
    client = BufferedClient()
    with Producer(kafka=KAFKA, client_factory=lambda _: client) as producer:
        handle: DeliveryHandle = producer.produce_async("t", b"x")
        with pytest.raises(InvalidArgumentError) as invalid:
            handle.add_done_callback(fn)
        refused(invalid.value, "fn", "run_coroutine_threadsafe")
        handle.result(5)
        with pytest.raises(InvalidArgumentError):
            handle.add_done_callback(fn)


def test_plain_functions_that_start_coroutines_pass() -> None:
    """A plain function passes, also one that starts a coroutine, or wraps one."""
    loop = asyncio.new_event_loop()
    started = functools.partial(asyncio.run_coroutine_threadsafe, loop=loop)

    @functools.wraps(coroutine)
    def wrapper(*_: Any) -> None:
        """Start it elsewhere."""

    def generate(*_: Any) -> Any:
        yield

    plain: list[Any] = [lambda c: started(c).result(10), wrapper, print, generate]
    for fn in [*plain, Retries]:
        config = Config(kafka={**KAFKA}, oauth_token_provider=fn, middleware=[fn])
        assert config.oauth_token_provider is fn
    loop.close()
