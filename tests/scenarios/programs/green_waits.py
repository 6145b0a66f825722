"""Whatever waits under gevent lets the hub run; brokers take 50 ms to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from tests.scenarios.green_kit import all_of, kit, measured

if TYPE_CHECKING:
    from waterdrop_py import Producer

TOPIC = kit.TOPIC


def main() -> None:
    """Each kind of wait, with its time and how late the hub was."""
    producer = kit.make_producer()
    with measured("open"):
        producer.produce_sync(TOPIC, b"first")
    with measured("sync"):
        all_of(100, lambda _: [producer.produce_sync(TOPIC, b"s") for _ in range(5)])
    with measured("result"):
        all_of(50, lambda _: producer.produce_async(TOPIC, b"a").result(10))
    with measured("future"):
        producer.produce_async(TOPIC, b"f").as_future().result(10)
    with measured("partition_key"):
        producer.produce_sync(TOPIC, b"k", partition_key="k")
    with measured("connect"):
        producer.connect(10)
    with measured("health"):
        kit.say(healthy=producer.health(deep=True).healthy)
    with measured("flush"):
        producer.produce_async(TOPIC, b"x")
        kit.say(left=producer.flush(10))
    others = _with_other_producers()
    with measured("disconnect"):
        kit.say(disconnected=producer.disconnect())
    producer.produce_async(TOPIC, b"last")
    with measured("close"):
        for each in (producer, *others):
            kit.say(complete=each.close(10).complete)


def _with_other_producers() -> list[Producer]:
    lingering = kit.make_producer(kafka={"linger.ms": 10_000})
    with measured("linger"):
        all_of(10, lambda _: lingering.produce_async(TOPIC, b"l"))
        kit.say(left=sum(all_of(10, lambda _: lingering.flush(10))))
    narrow = kit.make_producer(kafka={"queue.buffering.max.messages": 10})
    with measured("full"):
        all_of(5, lambda _: [narrow.produce_async(TOPIC, b"n") for _ in range(10)])
    transactional = kit.make_producer(kafka={"transactional.id": f"{TOPIC}-id"})

    def transact(number: int) -> None:
        with transactional.transaction():
            transactional.produce_async(TOPIC, b"t")
            gevent.sleep(0)
            transactional.produce_sync(TOPIC, b"t")

    with measured("transactions"):
        all_of(3, transact)
    return [lingering, narrow, transactional]


if __name__ == "__main__":
    main()
