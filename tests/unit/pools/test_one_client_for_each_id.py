"""No second client with a `transactional.id` is opened before the first one closes."""

from __future__ import annotations

from contextlib import closing
from threading import current_thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import BOUND, Park, Run, eventually
from waterdrop_py import ProducerPool, Status
from waterdrop_py.pools._members import Members
from waterdrop_py.testing import FakeClient, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.pools._slot import Slot


class Registry:
    """A `client_factory` that knows which ids open clients have."""

    def __init__(self) -> None:
        self.open: list[Client] = []
        self.together: list[str] = []
        self.ids: list[str | None] = []
        self.parked_close: Park | None = None
        self.park: Park | None = None

    def __call__(self, conf: dict[str, Any]) -> Client:
        """Open a client."""
        client = Client(self, conf)
        if client.own is not None and client.own in [each.own for each in self.open]:
            self.together.append(client.own)
        self.open.append(client)
        self.ids.append(client.own)
        return client

    @property
    def opens(self) -> int:
        """How many clients were opened."""
        return len(self.ids)


class Client(FakeClient):
    """A client of a `Registry`."""

    def __init__(self, registry: Registry, conf: dict[str, Any]) -> None:
        super().__init__(conf)
        self.registry = registry
        self.own: str | None = conf.get("transactional.id")

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata, once the test says so."""
        if self.registry.park is not None:
            self.registry.park()
        return super().list_topics(topic, timeout)

    def close(self) -> bool:
        """Close it, once the test says so."""
        if self.registry.parked_close is not None:
            self.registry.parked_close()
        if self in self.registry.open:
            self.registry.open.remove(self)
        return super().close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    """In the end no two clients had one id, and none is left."""
    made = Registry()
    yield made
    assert made.together == []
    assert made.open == []


def pool_on(registry: Registry, **options: Any) -> ProducerPool:
    """A transactional pool."""
    kafka = {"bootstrap.servers": "fake:9092", "transactional.id": "tx"}
    return ProducerPool({"kafka": kafka, "client_factory": registry}, **options)


def test_deep_health_while_old_clients_have_the_ids(registry: Registry) -> None:
    """After a `reload()` each slot waits for a running transaction. The cluster is
    asked through one of the old clients."""
    with closing(pool_on(registry, size=2)) as pool:
        with pool.transaction() as one, pool.transaction() as other:
            one.produce_sync("t", b"x")
            other.produce_sync("t", b"x")
            pool.reload()
            opens = registry.opens
            assert pool.health(deep=True).healthy
            assert registry.opens == opens
        eventually(lambda: pool.stats().draining == 0)


def test_deep_health_while_old_leases_are_silent(registry: Registry) -> None:
    """The old clients are closed, and may be opened again by their leases. A client
    without an id asks, and is closed."""
    with closing(pool_on(registry, size=1)) as pool:
        with pool.acquire() as producer:
            pool.reload()
            opens = registry.opens
            assert pool.health(deep=True).healthy
            assert (registry.opens, registry.open) == (opens + 1, [])
            assert pool._members.slots[0].producer is None  # noqa: SLF001
            producer.produce_sync("t", b"x")
        eventually(lambda: pool.stats().draining == 0)


def test_deep_health_passes_by_a_slot_that_waits(registry: Registry) -> None:
    """The first slot that may open a client is opened."""
    with closing(pool_on(registry, size=2)) as pool, pool.acquire():
        pool.reload()
        assert pool.health(deep=True).healthy
        statuses = [slot.status for slot in pool.slots()]
        assert statuses == [Status.CONFIGURED, Status.CONNECTED]


def test_connect_while_old_clients_have_the_ids(registry: Registry) -> None:
    """It opens none in a slot whose old client is on lease."""
    with closing(pool_on(registry, size=2, min_connected=2)) as pool:
        with pool.transaction() as producer:
            producer.produce_sync("t", b"x")
            pool.connect()
            pool.reload()
            opens = registry.opens
            pool.connect()
            assert [own for own in registry.ids[opens:] if own == "tx-0"] == []
        pool.connect(BOUND)
        eventually(lambda: len(registry.open) == 2)


def test_the_same_in_a_forked_child(registry: Registry) -> None:
    """The lease that it has inherited still has the old client."""
    with closing(pool_on(registry, size=1)) as pool:
        with pool.transaction() as producer:
            producer.produce_sync("t", b"x")
            pool.reload()
            pool._members.start_afresh(current_thread())  # noqa: SLF001 - as a fork
            opens = registry.opens
            pool.connect()
            assert [own for own in registry.ids[opens:] if own is not None] == []
        pool.connect(BOUND)
        eventually(lambda: len(registry.open) == 1)


def test_a_background_open_meets_a_reload(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that stays open is about to be opened, and a reload retires its producer,
    which a transaction has. The open makes the next producer, and opens no client;
    one is opened when the transaction has ended."""
    look = Members._may_open  # noqa: SLF001 - the interleaving is forced
    reloads = [None]

    def look_and_reload(members: Members, slot: Slot) -> bool:
        may = look(members, slot)
        if reloads:
            reloads.pop()
            pool.reload()
        return may

    with closing(pool_on(registry, size=1, min_connected=1)) as pool:
        pool.connect()
        (slot,) = pool._members.slots  # noqa: SLF001
        with pool.transaction() as producer:
            producer.produce_sync("t", b"x")
            monkeypatch.setattr(Members, "_may_open", look_and_reload)
            pool._opening.open(slot)  # noqa: SLF001
            assert (reloads, len(registry.open)) == ([], 1)
        eventually(lambda: pool.stats().draining == 0)
        eventually(lambda: len(registry.open) == 1)


def test_a_background_open_that_a_close_ends(registry: Registry) -> None:
    """The user closed the pool: nothing has failed, so no event says so."""
    park = registry.park = Park()
    pool = pool_on(registry, size=1, min_connected=1)
    with record(pool.monitor) as events:
        pool.acquire().release()
        park.entered()
        pool.close(force=True)
        park.go()
        eventually(lambda: not registry.open)
    assert not [each for each in events if each.name == "error.occurred"]


def test_connect_meets_a_shrink(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot is taken away while `connect()` waits for its old client to close. It need
    not be opened any more."""
    look = Members._may_open  # noqa: SLF001 - the interleaving is forced
    looked: list[int] = []

    def look_and_tell(members: Members, slot: Slot) -> bool:
        looked.append(slot.index)
        return look(members, slot)

    with closing(pool_on(registry, size=2, min_connected=2)) as pool:
        pool.connect()
        with pool.acquire(), pool.acquire():
            pool.reload()
            park = registry.parked_close = Park()
        monkeypatch.setattr(Members, "_may_open", look_and_tell)
        connecting = Run(lambda: pool.connect(BOUND))
        eventually(lambda: set(looked) == {0, 1})
        pool.resize(1)
        park.go()
        connecting.result()
        assert [slot.status for slot in pool.slots()] == [Status.CONNECTED]
