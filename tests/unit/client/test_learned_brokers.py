"""Which brokers a client is offered beside those that the user configured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from waterdrop_py._engine.client.learned_brokers import MOST, Brokers


def metadata(*servers: tuple[str, int], cluster: str | None = "A") -> Any:
    """An answer of a cluster with these brokers."""
    brokers = {
        number: SimpleNamespace(id=number, host=host, port=port)
        for number, (host, port) in enumerate(servers)
    }
    return SimpleNamespace(brokers=brokers, cluster_id=cluster)


def offered(brokers: Brokers, servers: str) -> str:
    """The servers of a client whose user configured `servers`."""
    conf = {"bootstrap.servers": servers}
    brokers.add_to(conf)
    return conf["bootstrap.servers"]


def test_nothing_is_added_before_an_answer() -> None:
    """The first client gets what the user gave, to the letter."""
    assert offered(Brokers(), " h1 ,h2:1") == " h1 ,h2:1"


def test_they_come_behind_the_users_own() -> None:
    """In the order of the answer; the user's text is untouched before them."""
    brokers = Brokers()
    brokers.take(metadata(("b1", 9093), ("b2", 9094)))
    assert offered(brokers, "seed:1, other") == "seed:1, other,b1:9093,b2:9094"


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("b1:9093", "b1", 9093),
        ("B1", "b1", 9092),
        ("x,  b1 ,y", "b1", 9092),
        ("SASL_SSL://b1:9093", "b1", 9093),
        ("[::1]:9093", "::1", 9093),
        ("[::1]", "::1", 9092),
    ],
)
def test_none_is_offered_twice(given: str, host: str, port: int) -> None:
    """A server counts as the same in each spelling that librdkafka reads."""
    brokers = Brokers()
    brokers.take(metadata((host, port)))
    assert offered(brokers, given) == given


def test_an_ipv6_address_is_put_in_brackets() -> None:
    """Metadata has it bare, and a list of servers needs them."""
    brokers = Brokers()
    brokers.take(metadata(("fe80::1", 9092)))
    assert offered(brokers, "h1") == "h1,[fe80::1]:9092"


@pytest.mark.parametrize(
    "server",
    [("", 9092), ("a,b", 9092), ("a b", 9092), ("a", 0), ("a", -1), ("a", 70_000)],
)
def test_what_is_not_an_address_is_left_out(server: tuple[str, int]) -> None:
    """No broker can slip another entry into the list."""
    brokers = Brokers()
    brokers.take(metadata(server, ("good", 1)))
    assert offered(brokers, "h1") == "h1,good:1"


def test_a_large_cluster_is_offered_in_part() -> None:
    """Each that is gone delays the first message of the next client."""
    brokers = Brokers()
    brokers.take(metadata(*((f"b{number}", 1) for number in range(100))))
    assert len(offered(brokers, "h1").split(",")) == 1 + MOST


def test_the_newest_answer_counts() -> None:
    """Brokers that are gone from the metadata are not offered any more."""
    brokers = Brokers()
    brokers.take(metadata(("b1", 1), ("b2", 2)))
    brokers.take(metadata(("b2", 2), ("b3", 3)))
    assert offered(brokers, "h1") == "h1,b2:2,b3:3"
    brokers.take(metadata())  # says nothing
    assert offered(brokers, "h1") == "h1,b2:2,b3:3"


def test_an_answer_of_another_cluster_clears_them() -> None:
    """It is told of, offers nothing, and the one after it counts again."""
    brokers = Brokers()
    assert brokers.take(metadata(("b1", 1), cluster="A")) is None
    error = brokers.take(metadata(("x1", 1), cluster="B"))
    assert error is not None
    assert "'B' answered where 'A' had" in str(error)
    assert offered(brokers, "h1") == "h1"
    assert brokers.take(metadata(("x1", 1), cluster="B")) is None
    assert offered(brokers, "h1") == "h1,x1:1"


def test_a_cluster_without_an_id_is_the_same() -> None:
    """Brokers before 0.10.1 say none."""
    brokers = Brokers()
    brokers.take(metadata(("b1", 1), cluster="A"))
    assert brokers.take(metadata(("b2", 1), cluster=None)) is None
    assert brokers.take(metadata(("b3", 1), cluster="B")) is not None


def test_the_other_name_of_the_property() -> None:
    """`metadata.broker.list` is `bootstrap.servers`; the later of the two wins."""
    brokers = Brokers()
    brokers.take(metadata(("b1", 1)))
    conf = {"bootstrap.servers": "h1", "metadata.broker.list": "h2"}
    brokers.add_to(conf)
    assert conf == {"bootstrap.servers": "h1", "metadata.broker.list": "h2,b1:1"}
    without: dict[str, str] = {"client.id": "x"}
    brokers.add_to(without)
    assert without == {"client.id": "x"}
