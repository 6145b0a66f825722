"""Where users' code runs under gevent: `users_code.run` hands it to the hub."""

from __future__ import annotations

import os
import queue
import signal
import socket
import time
from typing import TYPE_CHECKING

import gevent

from tests.scenarios.green_kit import kit, monkey
from waterdrop_py._engine.concurrency import native, users_code

if TYPE_CHECKING:
    from collections.abc import Callable

start_thread = monkey.get_original("_thread", "start_new_thread")
original_sleep = monkey.get_original("time", "sleep")


def from_a_thread(job: Callable[[], None]) -> None:
    """Hand `job` in on a thread of the system, as the poller would."""
    start_thread(users_code.run, (job,))


def main() -> None:
    """Jobs that yield, with sockets and queues of the main thread's hub."""
    producer = kit.make_producer(close_before_fork=None)
    producer.produce_sync(kit.TOPIC, b"first")
    main_thread = native.thread_id()
    here, there = socket.socketpair()
    ran: queue.Queue[tuple[str, bool, bool]] = queue.Queue()

    def job(name: str) -> None:
        time.sleep(0.001)
        here.sendall(b"x")
        there.recv(1)
        ran.put((name, native.thread_id() == main_thread, producer.in_transaction))

    for name in ("one", "two"):
        from_a_thread(lambda name=name: job(name))  # type: ignore[misc]
        kit.say(ran=ran.get(timeout=5))
    kit.say(slow=_runs_beside_others(), blocked=_runs_beside_a_blocked_hub())
    waiting: list[int] = []
    from_a_thread(lambda: waiting.append(1))
    original_sleep(0.1)  # the hub stands still
    pid = os.fork()
    if pid == 0:
        gevent.sleep(0.1)
        kit.say(twice=bool(waiting))
        producer.produce_sync(kit.TOPIC, b"child")
        from_a_thread(lambda: job("child"))
        kit.say(ran=ran.get(timeout=5))
        producer.close(5)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    kit.say(child=os.waitstatus_to_exitcode(status), twice=bool(waiting))
    producer.close(5)


def _runs_beside_others() -> bool:
    """Whether a job that takes long delays no other."""
    order: list[str] = []
    from_a_thread(lambda: (gevent.sleep(0.3), order.append("slow"))[0])  # type: ignore[func-returns-value]
    gevent.sleep(0.05)
    from_a_thread(lambda: order.append("fast"))
    gevent.sleep(0.5)
    return order == ["fast", "slow"]


def _runs_beside_a_blocked_hub() -> list[bool]:
    """Whether a job runs elsewhere while a signal handler waits on top of the hub: one
    that is handed in meanwhile, and one that was handed in before."""
    said: list[list[bool]] = []

    def handler(*_: object) -> None:
        from waterdrop_py._engine.concurrency.wakeup import Wakeup

        woken = [Wakeup(), Wakeup()]
        users_code.run(woken[0])
        start_thread(later, (woken[1],))
        on_hub = gevent.getcurrent() is gevent.get_hub()
        said.append([on_hub, *(wakeup.wait(5) for wakeup in woken)])

    def later(job: Callable[[], None]) -> None:
        original_sleep(0.2)
        users_code.run(job)

    def kill_later() -> None:
        original_sleep(0.2)
        os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, handler)
    start_thread(kill_later, ())
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        gevent.sleep(0.5)
    return said[0]


if __name__ == "__main__":
    main()
