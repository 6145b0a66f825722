"""`ProducerPool(config, **options)`: each option, its mistakes, and callables."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.pools.support import Cluster, config, transactional
from waterdrop_py import Config, ProducerPool
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool

SECRET = "s3cr3t-value"


def errors_of(source: Any, **options: Any) -> dict[str, str]:
    """What is wrong, by name."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        ProducerPool(source, **options)
    return dict(caught.value.errors)


def test_the_defaults(cluster: Cluster, started_here: list[str]) -> None:
    """Those of the page; nothing is opened, no thread is started."""
    pool = ProducerPool(config(cluster))
    assert (pool.size, pool.client_limit, pool.min_connected) == (10, 1, 0)
    assert (pool.strategy, pool.timeout, pool.max_waiting) == ("pack", 5.0, None)
    assert pool.name.startswith("pool-")
    assert len(pool.name) == len("pool-") + 12
    assert not pool.closed
    assert isinstance(pool.config, Config)
    assert cluster.clients == []
    assert started_here == []


def test_every_option_as_given(make_pool: MakePool, cluster: Cluster) -> None:
    """`len` is the size; an empty-looking pool is true."""
    pool = make_pool(
        size=3,
        client_limit=2,
        min_connected=1,
        strategy="spread",
        timeout=timedelta(milliseconds=250),
        max_waiting=7,
        name="orders",
    )
    assert (pool.size, pool.client_limit, pool.min_connected) == (3, 2, 1)
    assert (pool.strategy, pool.timeout, pool.max_waiting) == ("spread", 0.25, 7)
    assert pool.name == "orders"
    assert len(pool) == 3
    assert bool(pool) is True


def test_the_name_is_the_configs_id(cluster: Cluster, make_pool: MakePool) -> None:
    """Unless one is given; each slot's producer is named after the pool."""
    pool = make_pool(config(cluster, id="audit"))
    assert pool.name == "audit"
    assert [each.producer_id for each in pool.slots()] == ["audit-0", "audit-1"]
    with pool.acquire() as producer:
        assert producer.id == "audit-0"
    assert make_pool(config(cluster, id="audit"), name="other").name == "other"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("size", 0),
        ("size", 1001),
        ("size", True),
        ("size", "3"),
        ("size", None),
        ("client_limit", 0),
        ("client_limit", False),
        ("min_connected", -1),
        ("min_connected", 11),
        ("min_connected", True),
        ("strategy", "lifo"),
        ("strategy", None),
        ("timeout", -1),
        ("timeout", "5"),
        ("timeout", None),
        ("timeout", float("nan")),
        ("max_waiting", 0),
        ("max_waiting", True),
        ("name", ""),
        ("name", 5),
        ("max_connections", 5),
        ("block", True),
    ],
)
def test_a_bad_option(option: str, value: object, cluster: Cluster) -> None:
    """It is named, and so is nothing else. Nothing was opened."""
    assert list(errors_of(config(cluster), **{option: value})) == [option]
    assert cluster.clients == []


def test_everything_that_is_wrong_is_in_one_error(cluster: Cluster) -> None:
    """Options, foreign names and the configuration; no secret is echoed."""
    wrong = config(cluster, close_timeout=-1, kafka={"sasl.password": SECRET})
    wrong["max_wait_timeout"] = "soon"
    errors = errors_of(wrong, size=0, strategy="x", max_lifetime=SECRET)
    assert set(errors) >= {"size", "strategy", "max_lifetime", "close_timeout"}
    assert "max_wait_timeout" in errors
    assert "max_connection_age" in errors["max_lifetime"]
    assert SECRET not in str(errors)


@pytest.mark.parametrize("source", [None, 5, [], object(), "http://x", b"kafka://x"])
def test_what_is_not_a_configuration(source: object) -> None:
    """It is refused by the same error."""
    assert errors_of(source)


def test_none_is_not_a_configuration() -> None:
    """A producer takes it for options in keywords; a callable may lack its return."""
    sentence = "must be a Config, a mapping or a URL, got None"
    assert errors_of(None) == {"config": sentence}
    assert errors_of(lambda _: None, size=1) == {"config[0]": sentence}


@pytest.mark.parametrize("limit", [2, 100])
def test_a_transactional_pool_is_exclusive(limit: int, cluster: Cluster) -> None:
    """`client_limit` above 1 says why it cannot be."""
    errors = errors_of(transactional(cluster), client_limit=limit)
    assert list(errors) == ["client_limit"]
    assert "transaction" in errors["client_limit"]
    given = [transactional(cluster, f"own-{index}") for index in range(2)]
    errors = errors_of(lambda index: given[index], size=2, client_limit=limit)
    assert list(errors) == ["client_limit"]


class TestCallable:
    """`config` as a callable."""

    def test_is_called_once_for_each_index(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """0 to size - 1, in order; what it returns is any configuration."""
        asked: list[int] = []
        kinds: list[Any] = [
            config(cluster, id="mine"),
            Config(**config(cluster)),
            config(cluster),
        ]

        def source(index: int) -> Any:
            asked.append(index)
            return kinds[index]

        pool = make_pool(source, size=3, name="p")
        assert asked == [0, 1, 2]
        assert pool.config is source
        assert [each.producer_id for each in pool.slots()] == ["mine", "p-1", "p-2"]
        leases = [pool.acquire() for _ in range(3)]
        assert [lease.producer.id for lease in leases] == ["mine", "p-1", "p-2"]
        for lease in leases:
            lease.release()
        assert asked == [0, 1, 2]

    def test_may_raise(self) -> None:
        """That comes out as it is."""

        def source(index: int) -> Any:
            raise LookupError(index)

        with pytest.raises(LookupError):
            ProducerPool(source, size=2)

    def test_errors_name_the_index_and_the_path(self, cluster: Cluster) -> None:
        """All of them at once, with those of the options."""

        def source(index: int) -> Any:
            return [
                config(cluster),
                config(cluster, close_timeout=-1, kafka={"acks": "nonsense"}),
                17,
            ][index]

        errors = errors_of(source, size=3, timeout=-1)
        assert "timeout" in errors
        assert "config[1].close_timeout" in errors
        assert "config[2]" in errors
        assert all(each.startswith(("timeout", "config[")) for each in errors)
        assert not any(each.startswith("config[0]") for each in errors)

    def test_gives_whole_transactional_ids(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """Nothing is added to them."""
        pool = make_pool(lambda index: transactional(cluster, f"worker-7-{index}"))
        ids = [each.transactional_id for each in pool.slots()]
        assert ids == ["worker-7-0", "worker-7-1"]

    def test_equal_transactional_ids(self, cluster: Cluster) -> None:
        """Each error names the index that has it too."""
        errors = errors_of(lambda _: transactional(cluster, "same"), size=3)
        assert list(errors) == [
            "config[1].kafka.transactional.id",
            "config[2].kafka.transactional.id",
        ]
        assert "0" in errors["config[1].kafka.transactional.id"]

    def test_ids_for_some_indices_only(self, cluster: Cluster) -> None:
        """The indices without one are named."""

        def source(index: int) -> Any:
            return transactional(cluster, "one") if index == 1 else config(cluster)

        errors = errors_of(source, size=3)
        assert list(errors) == [
            "config[0].kafka.transactional.id",
            "config[2].kafka.transactional.id",
        ]


def test_a_pool_of_one_is_legal_and_quiet(make_pool: MakePool) -> None:
    """Where one producer would do, nothing is said: warnings are errors here."""
    with make_pool(size=1).acquire() as producer:
        producer.produce_sync("t", b"x")


def test_a_url(make_pool: MakePool) -> None:
    """A pool takes what `Producer` takes."""
    pool = make_pool("kafka://fake:9092?client.id=x")
    assert isinstance(pool.config, Config)
    assert pool.config.kafka["client.id"] == "x"


class TestIdsAndLimits:
    """What the configuration of each slot is."""

    def test_transactional_ids_have_the_index(
        self, cluster: Cluster, make_pool: MakePool
    ) -> None:
        """`<transactional.id>-<i>`."""
        pool = make_pool(transactional(cluster, "pay"), size=3)
        ids = [each.transactional_id for each in pool.slots()]
        assert ids == ["pay-0", "pay-1", "pay-2"]
        with pool.acquire() as producer:
            assert producer.config.kafka["transactional.id"] == "pay-0"

    @pytest.mark.parametrize(
        ("given", "connected", "rest"),
        [(0, 0, 180_000), (60_000, 0, 60_000)],
    )
    def test_idle_timeouts(
        self, given: int, connected: int, rest: int, cluster: Cluster
    ) -> None:
        """Slots that stay open have none; the others have the config's, or 3 min."""
        source = config(cluster, idle_disconnect_timeout=given)
        with ProducerPool(source, size=3, min_connected=1) as pool:
            leases = [pool.acquire() for _ in range(3)]
            by_slot = {lease.slot: lease.producer.config for lease in leases}
            found = [by_slot[i].idle_disconnect_timeout for i in range(3)]
            assert found == [connected, rest, rest]
            for lease in leases:
                lease.release()

    @pytest.mark.parametrize(
        ("age", "expected"),
        [
            (0, [0, 0, 0, 0]),
            (400_000, [400_000, 395_000, 390_000, 385_000]),
            (30_500, [30_500, 30_118, 30_000, 30_000]),
            (30_000, [30_000] * 4),
        ],
    )
    def test_ages_are_staggered(
        self, age: int, expected: list[int], cluster: Cluster
    ) -> None:
        """Slot i's is shorter by i / size of 5 %, and never below 30 000 ms."""
        source = config(cluster, max_connection_age=age)
        with ProducerPool(source, size=4) as pool:
            leases = [pool.acquire() for _ in range(4)]
            ages = [lease.producer.config.max_connection_age for lease in leases]
            assert ages == expected
            for lease in leases:
                lease.release()
