"""`Rival`: another process with a pool of its own, told over its standard input."""

from __future__ import annotations

import select
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from waterdrop_py import ProducerPool
from waterdrop_py.errors import PoolExhaustedError, ProduceError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0


class Rival:
    """A process that has a pool with these transactional ids; a context manager.

    Each method waits until the process has done it, at most 30 s.
    """

    def __init__(self, servers: str, topic: str, ids: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka.rival", servers, topic, *ids],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def commit(self) -> str:
        """Commit a message in every slot, side by side.

        "ok"; or the error's code; or "exhausted", with no slot in service.
        """
        return self._tell("commit")

    def begin(self) -> str:
        """Begin a transaction with a message in every slot, and leave it open."""
        return self._tell("begin")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(SECONDS)

    def _tell(self, order: str) -> str:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{order}\n".encode())
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        assert ready, f"the other process did not {order} within {SECONDS} s"
        return process.stdout.readline().decode().strip()

    def __enter__(self) -> Rival:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()


def main(servers: str, topic: str, *ids: str) -> None:
    """Obey what comes on standard input, until it ends."""

    def config(index: int) -> dict[str, object]:
        kafka = {"bootstrap.servers": servers, "linger.ms": 0}
        return {"kafka": {**kafka, "transactional.id": ids[index]}}

    with ProducerPool(config, size=len(ids)) as pool, ExitStack() as until_the_end:
        for line in sys.stdin:
            if line.strip() == "begin":
                said = begin(pool, topic, until_the_end)
            else:
                said = commit(pool, topic)
            print(said, flush=True)  # noqa: T201 - the answer


def begin(pool: ProducerPool, topic: str, blocks: ExitStack) -> str:
    """Begin a transaction in every slot."""
    for _ in range(pool.size):
        blocks.enter_context(pool.transaction()).produce_sync(topic, b"rival")
    return "ok"


def commit(pool: ProducerPool, topic: str) -> str:
    """Commit in every slot, side by side."""
    try:
        with ExitStack() as blocks:
            return begin(pool, topic, blocks)
    except ProduceError as error:
        return error.code
    except PoolExhaustedError:
        return "exhausted"


if __name__ == "__main__":
    main(*sys.argv[1:])
