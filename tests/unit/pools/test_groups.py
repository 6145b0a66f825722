"""`PoolGroup`: a pool for each configuration, and the limit of all groups."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import sys
import threading
import time
import weakref
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import BOUND, Bench, Run, eventually
from waterdrop_py import Config, Message, ProducerPool, pools
from waterdrop_py import monitor as shared_monitor
from waterdrop_py._engine.concurrency import background, threads
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    PoolClosedError,
    TransactionalCloseError,
)
from waterdrop_py.pools import LeaseHolder, PoolGroup, PoolReport, _group_pool
from waterdrop_py.pools._group_pool import GroupPool
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterdrop_py.monitor import Event

URL = "kafka://h1:9092"
OPTIONS = {"kafka": {"bootstrap.servers": "h1:9092"}}
CONFIG = Config(OPTIONS)
MARK = "hunter2"


def other(number: int = 0, **options: Any) -> Config:
    """A configuration of its own."""
    kafka = {"bootstrap.servers": f"other{number}:9092", **options.pop("kafka", {})}
    return Config(kafka=kafka, **options)


def fake(number: int = 0, **options: Any) -> Config:
    """A configuration whose clients need no network, and deliver at once."""
    return other(number, client_factory=FakeClient, **options)


@pytest.fixture(autouse=True)
def the_default_limit() -> Iterator[None]:
    """What a test sets is set back, and the process's group is empty again."""
    yield
    pools.set_limit(10)
    pools.reset(BOUND, force=True)


@pytest.fixture
def group() -> Iterator[PoolGroup]:
    """A group of the test's own."""
    group = PoolGroup()
    yield group
    group.reset(BOUND, force=True)


@pytest.fixture
def created() -> Iterator[list[Event]]:
    """Each `pool.created` of the process."""
    heard: list[Event] = []
    unsubscribe = shared_monitor.subscribe("pool.created", heard.append)
    yield heard
    unsubscribe()


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads switch as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# -- which pool ----------------------------------------------------------------


def test_equal_configurations_get_the_same_pool(group: PoolGroup) -> None:
    """However they are written: as a `Config`, a mapping or a URL."""
    pool = group[CONFIG]
    assert isinstance(pool, ProducerPool)
    assert group[OPTIONS] is pool
    assert group[URL] is pool
    assert group[Config(OPTIONS)] is pool
    assert len(group) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"kafka": {"bootstrap.servers": "h1:9092", "security.protocol": "ssl"}},
        {"kafka": {"bootstrap.servers": "h1:9092", "client.id": "x"}},
        {**OPTIONS, "close_timeout": 1_000},
        {**OPTIONS, "client_factory": FakeClient},
        {**OPTIONS, "id": "x"},
    ],
)
def test_any_difference_gets_another_pool(
    group: PoolGroup, options: dict[str, Any]
) -> None:
    """Of what takes effect: TLS, a property, a timeout, the factory, the id."""
    assert group[options] is not group[CONFIG]
    assert len(group) == 2


@pytest.mark.usefixtures("eager_switches")
def test_threads_that_look_up_at_once(group: PoolGroup, created: list[Event]) -> None:
    """They get the same pool, which is announced once."""
    for number in range(20):
        together = threading.Barrier(16)

        def look_up(config: Config, together: threading.Barrier = together) -> object:
            together.wait(BOUND)
            return group[config]

        keys = [other(number) for _ in range(16)]
        runs = [Run(partial(look_up, key)) for key in keys]
        assert len({id(run.result()) for run in runs}) == 1
    assert len(created) == len(group) == 20


@pytest.mark.usefixtures("eager_switches")
def test_look_ups_and_closes_at_once(group: PoolGroup) -> None:
    """A pool that is not closed stays in the group, whatever happens beside it."""
    stop = threading.Event()

    def churn(number: int) -> None:
        while not stop.is_set():
            group[other(number)].close(0)

    churning = [Run(partial(churn, number)) for number in range(3)]
    kept = []
    for number in range(100, 140):
        pool = group[other(number)]
        kept.append(pool)
        assert [group[other(n)] for n in range(100, number + 1)] == kept
    stop.set()
    for run in churning:
        run.result()
    assert [pool for pool in group.values() if pool in kept] == kept


def test_a_signal_handler_in_a_look_up(
    group: PoolGroup, created: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets a pool for the same key at once, and so does the look-up below it: the
    same one, which is announced once."""
    found: list[object] = []
    construct = GroupPool.__init__

    def interrupted(pool: GroupPool, *args: Any, **options: Any) -> None:
        construct(pool, *args, **options)
        if not found:
            found.append(None)
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(GroupPool, "__init__", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: found.append(group[CONFIG]))
    try:
        pool = group[CONFIG]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found == [None, pool]
    assert (len(created), len(group)) == (1, 1)


def test_a_signal_handler_that_raises_in_a_look_up(
    group: PoolGroup, created: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exception comes out. The next look-up makes the pool."""
    construct = GroupPool.__init__

    def interrupted(pool: GroupPool, *args: Any, **options: Any) -> None:
        construct(pool, *args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GroupPool, "__init__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            group[CONFIG]
    assert (len(created), len(group)) == (0, 0)
    assert group[CONFIG] is group[CONFIG]
    assert (len(created), len(group)) == (1, 1)


# -- questions -----------------------------------------------------------------


def test_questions_make_no_pool(group: PoolGroup) -> None:
    """Nor do they change which pools there are."""
    assert CONFIG not in group
    assert (len(group), list(group), group.values(), bool(group)) == (0, [], (), False)
    pool, second = group[CONFIG], group[other()]
    assert CONFIG in group
    assert OPTIONS in group
    assert URL in group
    assert other(1) not in group
    assert (len(group), bool(group)) == (2, True)
    assert list(group) == [CONFIG, other()]
    assert group.values() == (pool, second)


def test_an_iteration_goes_on_while_pools_come_and_go(group: PoolGroup) -> None:
    """It gives what was there when it began."""
    keys = [other(number) for number in range(3)]
    for key in keys:
        group[key]
    seen = []
    for config in group:
        seen.append(config)
        group[config].close(0)
        group[other(10 + len(seen))]
    assert seen == keys


def test_a_look_up_opens_nothing(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client, and no thread."""
    bench = Bench()
    monkeypatch.setattr(threads, "start", lambda *_: pytest.fail("a thread"))
    for _ in range(2):
        group[bench.options()]
    assert bench.calls["open"] == 0


def test_no_secret_is_shown(group: PoolGroup) -> None:
    """By the repr of a group, of its pools, and of the keys that it gives."""
    kafka = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "user",
        "sasl.password": MARK,
    }
    pool = group[other(kafka=kafka)]
    assert MARK not in f"{group!r} {group} {pool!r} {list(group)!r} {group.values()!r}"
    assert repr(group) == (
        "<PoolGroup limit=pools.use_default_limit client_limit=None pools=1>"
    )
    assert repr(PoolGroup(3, client_limit=2)) == (
        "<PoolGroup limit=3 client_limit=2 pools=0>"
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (None, "config"),
        (42, "config"),
        (lambda _: CONFIG, "config"),
        ({}, "kafka"),
        ({**OPTIONS, "close_timeout": -1}, "close_timeout"),
        ({"kafka": {"bootstrap.servers": "h:9092", "acks": "x"}}, "kafka.acks"),
        ("http://h:9092", "url"),
        ("kafka://h:9092?acks=x", "kafka.acks"),
    ],
)
def test_what_is_no_configuration(group: PoolGroup, key: Any, path: str) -> None:
    """It raises, in a question too, and nothing is stored."""
    for ask in (lambda: group[key], lambda: key in group):
        with pytest.raises(ConfigurationInvalidError) as caught:
            ask()
        assert list(caught.value.errors) == [path]
    assert len(group) == 0


def test_all_that_is_wrong_with_a_key(group: PoolGroup) -> None:
    """It is in one error, with librdkafka's verdict."""
    kafka = {"bootstrap.servers": "h:9092", "acks": "x"}
    with pytest.raises(ConfigurationInvalidError) as caught:
        group[{"kafka": kafka, "close_timeout": -1}]
    assert set(caught.value.errors) == {"kafka.acks", "close_timeout"}


def test_a_pool_that_cannot_be_made(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes out, and the next look-up tries again."""

    def failing(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ProducerPool, "__init__", failing)
        with pytest.raises(MemoryError):
            group[CONFIG]
    assert CONFIG not in group
    assert group[CONFIG] in group.values()


# -- closed pools --------------------------------------------------------------


def test_a_closed_pool_is_made_again(group: PoolGroup) -> None:
    """By the next look-up. The others stay."""
    first, beside = group[CONFIG], group[other()]
    first.close(0)
    assert CONFIG not in group
    assert (list(group), group.values()) == ([other()], (beside,))
    second = group[CONFIG]
    assert second is not first
    assert not second.closed
    assert (group[CONFIG], group[other()]) == (second, beside)


def test_a_closed_pool_that_was_kept_says_what_to_do(group: PoolGroup) -> None:
    """It was closed behind the back of its user."""
    pool = group[CONFIG]
    group.reset(0)
    with pytest.raises(PoolClosedError, match=r"look it up again: group\[config\]"):
        pool.acquire()


def test_a_closed_pool_leaves_the_memory(group: PoolGroup) -> None:
    """With its configuration, and although nothing is asked of the group again."""
    pool = weakref.ref(group[other(id=MARK)])
    with group[other(id=MARK)].acquire():
        pass
    group[other(id=MARK)].close(0)

    def configs() -> list[object]:
        gc.collect()
        return [
            each
            for each in gc.get_objects()
            if isinstance(each, Config) and each.id == MARK
        ]

    eventually(lambda: pool() is None and not configs(), "gone")


def test_a_group_that_is_dropped(created: list[Event]) -> None:
    """A pool that is kept goes on, and does not keep the group and its other pools."""
    group = PoolGroup()
    pool, beside = group[fake()], weakref.ref(group[fake(1)])
    gone = weakref.ref(group)
    del group
    gc.collect()
    assert (gone(), beside()) == (None, None)
    with pool.acquire() as producer:
        producer.produce_sync("topic", b"payload")
    assert pools.set_limit(3) == 3
    assert pool.size == 10
    assert pool.close(BOUND).complete
    assert len(created) == 2


# -- client_limit and other options --------------------------------------------


def test_client_limit(group: PoolGroup) -> None:
    """By default libraries share clients, which transactions cannot."""
    transactional = other(kafka={"transactional.id": "t"})
    assert (group.client_limit, group[CONFIG].client_limit) == (None, 100)
    assert group[transactional].client_limit == 1
    mine = PoolGroup(client_limit=7)
    assert (mine.client_limit, mine[CONFIG].client_limit) == (7, 7)
    with pytest.raises(ConfigurationInvalidError) as caught:
        mine[transactional]
    assert list(caught.value.errors) == ["client_limit"]
    assert transactional not in mine


def test_options_of_the_pools() -> None:
    """Each pool gets them."""
    group = PoolGroup(4, min_connected=2, strategy="spread", timeout=1.5, max_waiting=9)
    pool = group[CONFIG]
    assert (pool.size, pool.min_connected, pool.strategy) == (4, 2, "spread")
    assert (pool.timeout, pool.max_waiting) == (1.5, 9)


@pytest.mark.parametrize(
    ("options", "name", "says"),
    [
        ({"name": "x"}, "name", "the id of its Config"),
        ({"size": 3}, "size", "did you mean 'limit'?"),
        ({"max_connections": 3}, "max_connections", "did you mean 'limit'?"),
        ({"preload": 3}, "preload", "did you mean 'min_connected'?"),
        ({"what": 3}, "what", "the options are limit, client_limit, min_connected"),
        ({"limit": 0}, "limit", "1 to 1000, got 0"),
        ({"limit": 1001}, "limit", "1 to 1000, got 1001"),
        ({"limit": True}, "limit", "got True"),
        ({"limit": None}, "limit", "got None"),
        ({"client_limit": 0}, "client_limit", "got 0"),
        ({"client_limit": True}, "client_limit", "got True"),
        ({"strategy": "x"}, "strategy", "pack"),
        ({"limit": 2, "min_connected": 3}, "min_connected", "at most limit"),
        ({"min_connected": 1001}, "min_connected", "at most limit"),
    ],
)
def test_wrong_options(options: dict[str, Any], name: str, says: str) -> None:
    """They raise when the group is made, and not at a look-up."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        PoolGroup(**options)
    assert list(caught.value.errors) == [name]
    assert says in caught.value.errors[name]


def test_all_wrong_options_are_in_one_error() -> None:
    """As of a pool."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        PoolGroup(0, client_limit=0, name="x", timeout=-1)
    assert set(caught.value.errors) == {"limit", "client_limit", "name", "timeout"}


# -- the limit -----------------------------------------------------------------


def test_the_default_limit_is_that_of_all_groups(group: PoolGroup) -> None:
    """It resizes their pools, both ways, and counts for those made later. A group with
    a limit of its own keeps it."""
    own = PoolGroup(5)
    assert pools.get_limit() == 10
    assert group.limit is pools.use_default_limit
    here, there, apart = group[CONFIG], pools.producers[CONFIG], own[CONFIG]
    assert (here.size, there.size, apart.size) == (10, 10, 5)
    for limit in (3, 20):
        assert pools.set_limit(limit) == limit
        assert pools.get_limit() == limit
        assert (here.size, there.size, apart.size) == (limit, limit, 5)
        assert group[other(limit)].size == limit
        assert PoolGroup()[CONFIG].size == limit


def test_the_limit_of_a_group(group: PoolGroup) -> None:
    """It can be assigned, and given up again."""
    beside = PoolGroup()
    pool, apart = group[CONFIG], beside[CONFIG]
    group.limit = 4
    assert (group.limit, pool.size, group[other()].size, apart.size) == (4, 4, 4, 10)
    pools.set_limit(8)
    assert (pool.size, apart.size) == (4, 8)
    group.limit = pools.use_default_limit
    assert (pool.size, group[other()].size) == (8, 8)


def test_min_connected_comes_down_with_the_limit() -> None:
    """In pools that there are, and in those made later."""
    group = PoolGroup(min_connected=6)
    pool = group[CONFIG]
    assert (pool.size, pool.min_connected) == (10, 6)
    pools.set_limit(4)
    assert (pool.size, pool.min_connected) == (4, 4)
    assert group[other()].min_connected == 4
    pools.set_limit(10)
    assert (pool.size, pool.min_connected) == (10, 4)
    assert group[other(1)].min_connected == 6


def test_a_pool_that_its_user_has_resized(group: PoolGroup) -> None:
    """A look-up leaves it as it is; another limit does not."""
    group[CONFIG].resize(2)
    assert group[CONFIG].size == 2
    pools.set_limit(10)
    assert group[CONFIG].size == 2
    pools.set_limit(11)
    assert group[CONFIG].size == 11


def test_two_limits_at_once(group: PoolGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later one counts, also if the earlier one resizes last."""
    pool = group[CONFIG]
    resize = ProducerPool.resize
    later = [8]

    def late(pool: ProducerPool, size: int, **options: Any) -> None:
        if later:
            pools.set_limit(later.pop())
        resize(pool, size, **options)

    monkeypatch.setattr(ProducerPool, "resize", late)
    pools.set_limit(5)
    assert (pools.get_limit(), pool.size) == (8, 8)


def test_a_limit_that_is_set_while_a_pool_is_made(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts for that pool too."""
    construct = GroupPool.__init__

    def late(pool: GroupPool, *args: Any, **options: Any) -> None:
        construct(pool, *args, **options)
        pools.set_limit(3)

    monkeypatch.setattr(GroupPool, "__init__", late)
    assert group[CONFIG].size == 3


@pytest.mark.parametrize("limit", [0, -1, 1001, True, None, 2.0, "5"])
def test_what_is_no_limit(group: PoolGroup, limit: Any) -> None:
    """It raises, and nothing changes."""
    pool = group[CONFIG]
    with pytest.raises(InvalidArgumentError, match=r"^limit: must be an int from 1 to"):
        pools.set_limit(limit)
    with pytest.raises(InvalidArgumentError, match=r"or pools\.use_default_limit, got"):
        group.limit = limit
    assert (pools.get_limit(), group.limit, pool.size) == (
        10,
        pools.use_default_limit,
        10,
    )


def test_the_default_limit_as_a_value() -> None:
    """It is readable, and the same one after a copy."""
    assert repr(pools.use_default_limit) == "pools.use_default_limit"
    assert copy.deepcopy(pools.use_default_limit) is pools.use_default_limit
    assert pickle.loads(pickle.dumps(pools.use_default_limit)) is (
        pools.use_default_limit
    )


def test_a_limit_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a look-up, where slots of an unused pool are to stay open."""
    jobs: list[object] = []
    group = PoolGroup(min_connected=2)
    pool = group[CONFIG]
    monkeypatch.setattr(background, "submit", jobs.append)
    pools.set_limit(4)
    assert group[CONFIG] is pool
    assert (pool.size, pool.min_connected) == (4, 2)
    assert jobs == []
    pool.acquire().release()
    assert len(jobs) == 2


# -- reset ---------------------------------------------------------------------


def deliver(pool: ProducerPool, count: int) -> None:
    """Send messages that are on their way when the pool is closed."""
    with pool.acquire() as producer:
        for _ in range(count):
            producer.produce_async("topic", b"payload")


def test_a_reset_closes_all_and_empties_the_group(group: PoolGroup) -> None:
    """What it says is the sum of what the pools say."""
    found = [group[fake(number)] for number in range(3)]
    for count, pool in enumerate(found, 1):
        deliver(pool, count)
    apart = PoolGroup()[fake()]
    report = group.reset(BOUND)
    assert isinstance(report, PoolReport)
    assert (report.failed, report.undelivered, report.holders) == (0, [], ())
    assert report.complete
    assert (len(group), [pool.closed for pool in found]) == (0, [True] * 3)
    assert not apart.closed
    assert group[fake(1)] not in found


def test_a_reset_says_what_all_pools_say(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums, all messages, and the leases that were out, longest held first."""
    young, old = (LeaseHolder(0, "t", "f:1", held_ms) for held_ms in (1.0, 2.0))
    message = Message(topic="t", payload=b"p")
    reports = [
        PoolReport(1, 2, [message], complete=False, holders=(young,)),
        PoolReport(10, 20, [], complete=True, holders=(old,)),
    ]
    keys = {id(group[other(number)]): each for number, each in enumerate(reports)}
    with monkeypatch.context() as patch:
        patch.setattr(GroupPool, "close", lambda pool, *_, **__: keys[id(pool)])
        report = group.reset(BOUND)
    assert report == PoolReport(11, 22, [message], False, (old, young))


def test_a_reset_inside_a_callback(group: PoolGroup) -> None:
    """It does not wait for the callback, and the pools close behind it."""
    found = [group[fake(number)] for number in range(3)]
    said: list[tuple[bool, float]] = []

    def reset(_: object) -> None:
        began = time.monotonic()
        said.append((group.reset(60).complete, time.monotonic() - began))

    with found[0].acquire() as producer:
        producer.produce_async("topic", b"payload").add_done_callback(reset)
        eventually(lambda: said, "the callback is over")
    assert not said[0][0]
    assert said[0][1] < BOUND
    eventually(lambda: all(pool.closed for pool in found), "closed")


def test_a_reset_of_all_groups(group: PoolGroup) -> None:
    """The process's, and others."""
    found = [group[fake()], PoolGroup()[fake()], pools.producers[fake()]]
    kept = PoolGroup()
    found.append(kept[fake(1)])
    assert pools.reset(BOUND).complete
    assert [pool.closed for pool in found] == [True, False, True, True]
    assert (len(group), len(kept), len(pools.producers)) == (0, 0, 0)


def test_a_reset_of_nothing(group: PoolGroup) -> None:
    """It says that nothing is left."""
    assert group.reset(0) == PoolReport()


def test_a_reset_of_what_was_never_used(group: PoolGroup) -> None:
    """It takes no time, however many there are."""
    for number in range(100):
        group[other(number)]
    assert group.reset(BOUND).complete
    assert len(group) == 0


@pytest.mark.timed
def test_a_reset_has_one_bound_for_all(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 100 pools takes as long as it may, and they do so at the same time."""
    bounds: list[float] = []

    def slow(_: GroupPool, timeout: float, *, force: bool) -> PoolReport:
        assert not force
        bounds.append(timeout)
        time.sleep(timeout)
        return PoolReport(delivered=1)

    pools_there = [group[other(number)] for number in range(100)]
    with monkeypatch.context() as patch:
        patch.setattr(GroupPool, "close", slow)
        began = time.monotonic()
        report = group.reset(0.5)
        took = time.monotonic() - began
    assert took < 1.0
    assert (report.delivered, report.complete) == (100, True)
    assert max(bounds) <= 0.5
    assert len(pools_there) == len(bounds)


def test_a_reset_that_is_not_over_in_time(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It returns all the same, and says that it is not complete."""
    hanging = threading.Event()

    def hang(*_: Any, **__: Any) -> PoolReport:
        hanging.wait(BOUND)
        return PoolReport()

    for number in range(2):
        group[other(number)]
    with monkeypatch.context() as patch:
        patch.setattr(GroupPool, "close", hang)
        patch.setattr(_group_pool, "GRACE", 0.02)
        assert not group.reset(0).complete
        hanging.set()


def test_a_reset_without_a_timeout(
    group: PoolGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pool has the time that its own configuration gives it."""
    bounds: set[int] = set()

    def noted(_: GroupPool, timeout: float, *, force: bool) -> PoolReport:
        assert force
        bounds.add(round(timeout))
        return PoolReport()

    for number in (20, 30):
        group[other(close_timeout=number * 1_000)]
    with monkeypatch.context() as patch:
        patch.setattr(GroupPool, "close", noted)
        group.reset(force=True)
    assert bounds == {20, 30}


def test_a_reset_inside_a_transaction(group: PoolGroup) -> None:
    """It raises, and no pool is closed. Another thread may have the same context."""
    transactional = fake(kafka={"transactional.id": "t"})
    before, pool, behind = group[fake(1)], group[transactional], group[fake(2)]
    with pool.transaction():
        context = copy_context()
        for reset in (group.reset, pools.reset):
            with pytest.raises(TransactionalCloseError):
                reset(BOUND)
            elsewhere = Run(partial(context.run, reset, BOUND))
            with pytest.raises(TransactionalCloseError):
                elsewhere.result()
    assert [each.closed for each in (before, pool, behind)] == [False] * 3
    assert group.reset(BOUND).complete


def test_a_reset_does_not_wait_for_leases_of_its_own_thread(group: PoolGroup) -> None:
    """In however many pools it holds some; it says who has them."""
    with group[fake()].acquire(), group[fake(1)].acquire():
        began = time.monotonic()
        report = group.reset(60)
        assert time.monotonic() - began < BOUND
    assert not report.complete
    assert len(report.holders) == 2


@pytest.mark.parametrize("timeout", ["5s", -1, True, float("nan")])
def test_a_reset_with_a_wrong_timeout(group: PoolGroup, timeout: Any) -> None:
    """It raises, and closes nothing."""
    pool = group[CONFIG]
    resets: tuple[Callable[[Any], object], ...] = (group.reset, pools.reset)
    for reset in resets:
        with pytest.raises(InvalidArgumentError, match="timeout"):
            reset(timeout)
    assert not pool.closed


# -- the object ----------------------------------------------------------------


def test_a_group_is_neither_copied_nor_pickled(group: PoolGroup) -> None:
    """It owns pools."""
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="PoolGroup cannot be copied or pickled"):
            copied(group)


@pytest.mark.parametrize(
    ("name", "says"),
    [("items", "values"), ("get", "in group"), ("clear", "reset"), ("pop", "close")],
)
def test_names_of_a_dict(group: PoolGroup, name: str, says: str) -> None:
    """What would make pools, or lose open ones, is answered with what to use."""
    assert not hasattr(group, name)
    with pytest.raises(AttributeError, match=says):
        getattr(group, name)
