"""`produce_async` takes the same keyword-only arguments as the other verbs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.doubles import Bench
from waterdrop_py import Producer


def test_its_signature_is_the_one_for_callers() -> None:
    """It shows the parameters of `buffer`, and returns a handle."""
    shown = inspect.signature(Producer.produce_async)
    assert shown.parameters == inspect.signature(Producer.buffer).parameters
    assert shown.return_annotation == "DeliveryHandle"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((b"key",), {}),
        ((None,), {}),
        ((None, b"key"), {}),
        ((), {"_": None}),
        ((), {"_": 1, "key": b"key"}),
        ((), {"kye": b"key"}),
    ],
)
def test_positional_keyword_arguments_are_refused(
    given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """They raise a TypeError as from Python, and nothing is sent."""
    with Producer({"kafka": {"bootstrap.servers": "h:1"}}) as producer:
        with pytest.raises(TypeError, match=r"produce_async\(\)"):
            producer.produce_async("t", b"x", *given, **named)
        assert (producer.stats().opens, producer.stats().produced) == (0, 0)


def test_a_busy_client_sends_nothing_either() -> None:
    """The fast path, which a client in use takes, refuses the same arguments."""
    bench = Bench()
    bench.auto = False
    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((b"key",), {}),
        ((None,), {}),
        ((), {"_": None}),
        ((), {"kye": b"key"}),
        ((), {"value": None}),
    ]
    with Producer(**bench.options()) as producer:
        producer.produce_async("t", b"x")
        for given, named in wrong:
            with pytest.raises(TypeError, match=r"^produce_async\(\) "):
                producer.produce_async("t", b"x", *given, **named)
        assert producer.stats().produced == 1
        bench.clients[0].ack()


def test_its_code_has_the_arguments_that_it_shows() -> None:
    """Each keyword-only argument is one of the code too, with the same default."""
    shown = inspect.signature(Producer.produce_async).parameters.values()
    by_keyword = {
        each.name: each.default for each in shown if each.kind is each.KEYWORD_ONLY
    }
    assert Producer.produce_async.__kwdefaults__ == by_keyword
    code = Producer.produce_async.__code__
    required = [each.name for each in shown if each.default is each.empty]
    assert list(code.co_varnames[: code.co_argcount]) == required


@pytest.mark.parametrize("verb", ["produce_async", "produce_sync", "buffer"])
@pytest.mark.parametrize("name", ["function", "given", "extra", "wrong", "_", "verb"])
def test_a_foreign_name_may_be_one_of_our_own_code(verb: str, name: str) -> None:
    """A name that the code uses for itself is answered as any other foreign name."""
    with Producer({"kafka": {"bootstrap.servers": "h:1"}}) as producer:
        for given in ((), ("t",), ("t", b"x"), ("t", b"x", b"key")):
            with pytest.raises(TypeError) as caught:
                getattr(producer, verb)(*given, **{name: 1})
            start = f"{verb}() has no argument {name!r}; it has topic, payload, key"
            assert str(caught.value).startswith(start)


@pytest.mark.parametrize("verb", ["produce_async", "produce_sync", "buffer"])
def test_the_argument_that_is_missing_is_named(verb: str) -> None:
    """Also where the other one was given by keyword, or one was given twice."""
    with Producer({"kafka": {"bootstrap.servers": "h:1"}}) as producer:
        call = getattr(producer, verb)
        with pytest.raises(TypeError, match=rf"^{verb}\(\) needs 'topic'$"):
            call(payload=b"x", key=b"k")
        with pytest.raises(TypeError, match=rf"^{verb}\(\) needs 'payload' \(None, "):
            call(topic="t", label=1)
        for name in ("topic", "payload", "self"):
            with pytest.raises(TypeError, match=rf"multiple values .* '{name}'$"):
                call("t", b"x", **{name: b"y"})
