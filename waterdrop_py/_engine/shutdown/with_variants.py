"""`Closing`: the close of a producer and its variants, in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.shutdown.close import Shutdown, combined

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.process.runtime import Runtime
    from waterdrop_py._engine.reports.accounting import DrainReport


class Closing:
    """The close of a producer and its variants, in progress. Thread-safe."""

    def __init__(
        self,
        first: Shutdown,
        start_others: Callable[[], list[Shutdown]],
        runtime: Runtime,
        deadline: float,
        *,
        force: bool,
    ) -> None:
        """`start_others` begins the close of the variants, once `first` refuses."""
        self._shutdowns = [first]
        self._start_others = start_others
        self._runtime = runtime
        self._deadline = deadline
        self._force = force

    def wait(self, *, here: bool = False) -> DrainReport:
        """Wait for its end, until its bound; what became of each message.

        `here`: the calling thread is a worker's, and closes what no other one does.
        """
        with self._runtime.during_close():
            self._wait(self._shutdowns[0], here=here)
            self._shutdowns += self._start_others()
            for each in self._shutdowns[1:]:
                self._wait(each, here=here)
        self._runtime.end_threads_if_unused()
        return self.progress()

    def _wait(self, shutdown: Shutdown, *, here: bool) -> None:
        if here:
            shutdown.run_here()
        shutdown.wait(self._deadline, force=self._force)

    @property
    def over_by(self) -> float:
        """When it is over at the latest, in seconds on the system's clock."""
        return max(each.over_by for each in self._shutdowns)

    def progress(self) -> DrainReport:
        """What is known so far; the whole report once all is closed."""
        return combined([each.progress() for each in self._shutdowns])
