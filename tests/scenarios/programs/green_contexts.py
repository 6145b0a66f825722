"""Each greenlet has its own transaction; a message from outside is in none of them."""

from __future__ import annotations

import gevent

from tests.scenarios.green_kit import all_of, kit
from waterdrop_py import AbortTransaction


def main() -> None:
    """Greenlets with an even number commit, the others abort."""
    producer = kit.make_producer(kafka={"transactional.id": f"{kit.TOPIC}-id"})
    open_in: list[int] = []
    most: list[int] = []

    def transact(number: int) -> bool:
        with producer.transaction():
            open_in.append(number)
            most.append(len(open_in))
            producer.produce_async(kit.TOPIC, f"async-{number}")
            gevent.sleep(0.002)
            producer.produce_sync(kit.TOPIC, f"sync-{number}")
            open_in.remove(number)
            if number % 2:
                raise AbortTransaction
        return producer.in_transaction

    inside = all_of(6, transact)
    kit.say(most=max(most), inside=inside)
    with producer.transaction():
        outside = gevent.spawn(lambda: producer.in_transaction)
        kit.say(here=producer.in_transaction, spawned=outside.get(timeout=5))
    kit.say(complete=producer.close(10).complete)


if __name__ == "__main__":
    main()
