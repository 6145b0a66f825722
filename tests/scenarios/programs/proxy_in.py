"""A proxy in a process that forks, or that gevent has patched."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

SERVERS, _, MODE = sys.argv[1:]
if MODE == "patched_before":
    from gevent import monkey

    monkey.patch_all()

from confluent_kafka import Producer  # noqa: E402 - gevent may patch first

from tests.scenarios.kit import say  # noqa: E402
from waterdrop_py.testing import DroppingProxy  # noqa: E402

if MODE == "patched_after":
    from gevent import monkey

    monkey.patch_all()


def delivered(proxy: DroppingProxy) -> bool:
    """Whether a message passes while this thread is inside librdkafka."""
    producer = Producer({"bootstrap.servers": proxy.bootstrap_servers, "log_level": 0})
    producer.produce("through", b"x")
    left = producer.flush(10)
    producer.close()
    return left == 0


def gevent_user(proxy: DroppingProxy) -> None:
    """Native calls, greenlets that command, and a hub that goes on meanwhile."""
    import gevent

    lags: list[float] = []

    def tick() -> None:
        while True:
            then = time.monotonic()
            gevent.sleep(0.005)
            lags.append(time.monotonic() - then)

    say(delivered=delivered(proxy))
    gevent.spawn(tick)
    address = proxy.brokers[0][1:]
    socks = [gevent.spawn(socket.create_connection, address) for _ in range(20)]
    gevent.joinall(socks, timeout=10)
    asked = [gevent.spawn(lambda: proxy.open) for _ in range(50)]
    gevent.joinall(asked, timeout=10)
    say(open=sorted({each.value for each in asked}), lag=max(lags))
    say(lost=proxy.black_hole(), closed=proxy.reset())


def child(proxy: DroppingProxy, parents_turn: int) -> None:
    """Send through it, try to command it, and live on."""
    say(child=delivered(proxy))
    try:
        proxy.reset()
    except RuntimeError as error:
        say(refused=str(error))
    proxy.close()
    os.write(parents_turn, b".")
    time.sleep(30)


def forking_user(proxy: DroppingProxy) -> None:
    """Fork, go on using it, and close it while the child lives."""
    child_is_done, parents_turn = os.pipe()
    with socket.create_connection(proxy.brokers[0][1:], 10) as sock:
        address = sock.getpeername()
        pid = os.fork()
        if not pid:
            try:
                sock.close()
                child(proxy, parents_turn)
            finally:
                os._exit(0)
        os.read(child_is_done, 1)
        say(delivered=delivered(proxy))
        started = time.monotonic()
        proxy.close()
        say(close_s=time.monotonic() - started, end=sock.recv(1) == b"")
        with socket.socket() as late:
            say(listens=late.connect_ex(address) == 0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


with DroppingProxy(SERVERS) as running:
    (forking_user if MODE == "forks" else gevent_user)(running)
