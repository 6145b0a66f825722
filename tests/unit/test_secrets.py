"""No repr, error, event, warning or log line shows a secret."""

from __future__ import annotations

import logging
import pickle
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterdrop_py import Config, Producer, monitor
from waterdrop_py.errors import ConfigurationInvalidError, WaterdropError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "MARKED-SECRET"
PROPERTIES = (
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
)
FOREIGN = ("password", "userid", "ssl_options", "transport_options", "heartbeat")
secrets = st.text("abcXYZ019!@:/%?&= ", max_size=12).map(lambda end: MARK + end)


class Lines(logging.Handler):
    """A handler that keeps every log line with its exception."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, entry: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(self.format(entry) + repr(entry.__dict__))


def shown(thing: Any) -> Iterator[str]:
    """The repr and the texts of an object."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing}"
    if isinstance(thing, Config):
        yield thing.as_url()
        yield str({thing: hash(thing)})
    if isinstance(thing, BaseException):
        yield "".join(traceback.format_exception(thing))
        yield repr(getattr(thing, "errors", None))


def all_texts(make: Callable[[], Any]) -> str:
    """All texts from making, using and pickling a configuration."""
    handler = Lines()
    texts: list[str] = []
    logging.getLogger().addHandler(handler)
    try:
        with record(monitor) as events, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                config = make()
                texts += shown(config)
                texts += shown(config.kafka)
                with suppress(Exception):
                    pickle.dumps(config.kafka.get("bootstrap.servers"))
                producer = Producer(config)
                texts += shown(producer)
                texts += shown(producer.stats())
                texts += shown(producer.health())
                try:
                    pickle.dumps(producer)
                except TypeError as error:
                    texts += shown(error)
                producer.close(0)
            except WaterdropError as error:
                texts += shown(error)
        for event in events:
            texts += shown(event)
            texts += shown(dict(event.payload))
        texts += [str(warning.message) for warning in warned]
    finally:
        logging.getLogger().removeHandler(handler)
    return "\n".join([*texts, *handler.lines])


@settings(max_examples=60, deadline=None)
@given(secret=secrets, name=st.sampled_from(PROPERTIES), broken=st.booleans())
def test_in_a_property(secret: str, name: str, *, broken: bool) -> None:
    """No secret property is shown, of a legal and an illegal configuration."""
    kafka = {"bootstrap.servers": "127.0.0.1:1", name: secret}
    options: dict[str, Any] = {"idle_disconnect_timeout": 300} if broken else {}
    assert MARK not in all_texts(lambda: Config(kafka=kafka, **options))


@settings(max_examples=60, deadline=None)
@given(
    secret=secrets, tail=st.sampled_from(["", "?idle_disconnect_timeout=300", "?x=1"])
)
def test_in_a_url(secret: str, tail: str) -> None:
    """The password of a URL is not shown."""
    url = f"kafka+sasl_plaintext://user:{quote(secret, safe='')}@127.0.0.1:1/{tail}"
    assert MARK not in all_texts(lambda: Config.from_url(url))


@pytest.mark.parametrize("name", ["bootstrap.servers", "metadata.broker.list"])
@pytest.mark.parametrize("url", ["kafka+sasl_ssl://u:{}@h:9092", "h:1,u:{}@h:2"])
def test_in_the_servers(name: str, url: str) -> None:
    """A login in the servers is refused, because librdkafka would log it."""
    with pytest.raises(ConfigurationInvalidError, match="without a login") as caught:
        Producer(kafka={name: url.format(MARK)})
    assert MARK not in "".join(shown(caught.value))


@settings(max_examples=40, deadline=None)
@given(secret=secrets)
def test_in_a_url_that_is_not_one(secret: str) -> None:
    """The password of an illegal URL is not shown, unquoted characters included."""
    url = f"kafka+sasl_plaintext://user:{secret}@127.0.0.1:1/"
    assert MARK not in all_texts(lambda: Config.from_url(url))


@pytest.mark.parametrize("name", ["SASL_PASSWORD", "SSL_KEY_PASSWORD", "SSL_KEY_PEM"])
@settings(max_examples=20, deadline=None)
@given(secret=secrets)
def test_in_the_environment(name: str, secret: str) -> None:
    """A secret variable is not shown when another variable is illegal."""
    values = {
        f"SECRETS_KAFKA_{name}": secret,
        "SECRETS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SECRETS_IDLE_DISCONNECT_TIMEOUT": "300",
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in values.items():
            patch.setenv(key, value)
        texts = all_texts(lambda: Config.from_env(prefix="SECRETS_"))
    assert MARK not in texts


@settings(max_examples=30, deadline=None)
@given(secret=secrets, name=st.sampled_from(PROPERTIES))
def test_of_the_wrong_type(secret: str, name: str) -> None:
    """A secret of an illegal type is not shown."""
    for value in ([secret], secret.encode()):
        kafka = {"bootstrap.servers": "127.0.0.1:1", name: value}

        def make(kafka: Any = kafka) -> Config:
            return Config(kafka=kafka)

        assert MARK not in all_texts(make)


@settings(max_examples=40, deadline=None)
@given(secret=secrets, name=st.sampled_from(FOREIGN))
def test_under_a_name_of_another_library(secret: str, name: str) -> None:
    """A secret under a foreign name is not shown, wherever it stands."""
    kafka = {"bootstrap.servers": "127.0.0.1:1"}
    url = f"kafka://127.0.0.1:1/?{name}={quote(secret, safe='')}"
    environ = {"S_URL": "kafka://127.0.0.1:1", f"S_{name.upper()}": secret}
    for make in (
        lambda: Config({"kafka": kafka, name: secret}),
        lambda: Config({"kafka": kafka, name: {"password": secret}}),
        lambda: Config({"kafka": kafka, name: [secret]}),
        lambda: Config(kafka={**kafka, name: secret}),
        lambda: Config.from_url(url),
        lambda: Config.from_env("S_", environ),
    ):
        assert MARK not in all_texts(make)
