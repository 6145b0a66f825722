"""What is reported of a process that closed its last client and still has threads."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any, cast

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from tests.patches import here_only, set_system_clock
from waterdrop_py._engine.client.foreign import identities_of, whole
from waterdrop_py._engine.process import leak_check
from waterdrop_py._engine.process.closes import Closes
from waterdrop_py._engine.process.leak_check import SPARED, LeakCheck
from waterdrop_py._engine.process.resources import ResourceCount, count_resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter

OTHERS: dict[str, Callable[[], object]] = {
    "admin": lambda: AdminClient({}),
    "producer": lambda: confluent_kafka.Producer({}),
    "consumer": lambda: confluent_kafka.Consumer({"group.id": "g"}),
}


class Stub:
    """An emitter that notes its errors, and workers that run each job at once."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.check = LeakCheck(Closes(self.submit), lambda: False, self.submit)

    def closed(self, ours: tuple[int, ...] = ()) -> None:
        """The last client is closed."""
        self.check.closed(cast("Emitter", self), ours)

    def submit(self, job: Callable[[], None]) -> None:
        """Run the job."""
        job()

    def listens(self, _: str) -> bool:
        """Of course."""
        return True

    def error(self, name: str, _: object, **__: object) -> None:
        """Take note."""
        self.errors.append(name)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each walk over the process' objects; threads are always left.

    What other tests have left is not among the objects.
    """
    made: list[None] = []
    walk = gc.get_objects
    clients = confluent_kafka.Producer, confluent_kafka.Consumer, AdminClient
    known = [each for each in walk() if issubclass(type(each), clients)]

    def counted() -> list[Any]:
        made.append(None)
        return [each for each in walk() if not any(each is other for other in known)]

    monkeypatch.setattr(leak_check, "PATIENCE", 0.0)
    monkeypatch.setattr(gc, "get_objects", here_only(counted, walk))
    count_as(monkeypatch, lambda: ResourceCount(1, 5, 9))
    return made


def count_as(
    monkeypatch: pytest.MonkeyPatch, count: Callable[[], ResourceCount]
) -> None:
    """Have `count` tell what the process holds."""
    counted = here_only(count, count_resources)
    monkeypatch.setattr(leak_check, "count_resources", counted)


@pytest.mark.parametrize("kind", OTHERS)
def test_clients_of_others(
    kind: str, walks: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is reported while there is a client from outside the library. The objects
    of the process are walked once in ten minutes, not for each last close."""
    now = [1_000.0]
    set_system_clock(monkeypatch, lambda: now[0])
    stub = Stub()
    other = OTHERS[kind]()
    for _ in range(3):
        stub.closed()
    assert stub.errors == []
    assert len(walks) == 1
    del other
    now[0] += SPARED + 1
    stub.closed()
    assert stub.errors == ["producer.disconnect.incomplete"]
    assert len(walks) == 2


def test_what_a_client_of_ours_wraps(walks: list[None]) -> None:
    """A wrapper that is still referenced, and the producer in it, count as ours.
    Objects that raise when they are asked for their type do no harm."""

    class Traced(confluent_kafka.Producer):
        def __init__(self, inner: object) -> None:
            self.inner = inner

    outer = Traced(confluent_kafka.Producer({}))
    stub = Stub()
    ours = identities_of(whole(outer, transactional=False))
    dead = weakref.proxy(Stub())
    stub.closed(ours)
    del dead
    assert stub.errors == ["producer.disconnect.incomplete"]
    assert len(walks) == 1


def test_a_client_of_others_that_is_closed_meanwhile(
    walks: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. The threads are counted, those of a consumer among them.
    2. The consumer is closed, and is not among the objects any more.
    3. The threads are counted again, and none is left."""
    counts = [ResourceCount(1, 5, 9), ResourceCount(0, 0, 4)]
    count_as(monkeypatch, lambda: counts.pop(0))
    stub = Stub()
    stub.closed()
    assert stub.errors == []
    assert len(walks) == 1
