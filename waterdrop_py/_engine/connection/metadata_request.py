"""One request for the metadata of one topic, on one client.

Each client has at most one request for each topic; a caller that asks meanwhile waits
for that one. It runs on a worker. The callers wait for a wake-up, open to Ctrl-C, and
serve what librdkafka reports meanwhile.

`list_topics(timeout=t)` sends a request of its own each time. With a round trip longer
than `t` no call ever sees an answer: short slices fail for ever on a slow broker. (On a
new client an answer takes up to three round trips, and six where a call ends in the
middle of them: measured.) So the first native call has `FIRST` seconds, or all that the
caller has. A call that no broker was connected for has sent nothing, and the next one
may be as short. Once a request was not answered in time, the next call has all the time
that is left.

A native call cannot be stopped; a native close waits for it (measured with 2.16). When
its caller has left early, a client that is to be closed is detached at once, and
destroyed when the call has ended (`Teardown.run`). A caller that waits for that close
leaves after 0.3 s (`Teardown.wait_until`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException

from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.client.kafka_errors import code_name, kafka_error_of
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.native import caller_id
from waterdrop_py._engine.concurrency.wakeup import Wakeup, sleep
from waterdrop_py.errors import ReentrantCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.typing import KafkaClient

FIRST: Final = 30.0
"""Seconds of the first native call. An unreachable broker keeps a detached client for
as long."""
EVERY: Final = 300.0
"""Seconds after which a client that stays open, and is used, is asked for the brokers
again."""
BACKGROUND: Final = 5.0
"""Seconds that a request may take for which no caller waits."""
_SHORTEST: Final = 0.005
_LONGEST: Final = 0.1
"""Seconds between two polls of the client, while a caller waits."""
_BETWEEN: Final = 0.05
"""Seconds between two native calls."""


def list_topics(
    client: KafkaClient, topic: str | None = None, *, timeout: float
) -> Any:
    """The cluster's metadata, of all topics or of one; `timeout` in seconds."""
    # The native call would import it, and turn a Ctrl-C during the import into an
    # ImportError. It is an import statement, because up to Python 3.10 `import_module`
    # always takes the module's lock, and loses a Ctrl-C that comes as it releases it.
    import confluent_kafka.admin  # noqa: F401

    return client.list_topics(topic, timeout=timeout)


class Request:
    """One request for the metadata of a topic, on one client. Used once.

    Attributes:
        wakeups: one for each caller that waits.
        running: the native call is in progress; the client is not destroyed meanwhile.
        lasting: until when it continues without a caller that waits.
        over: it has ended, with `answer` or `error`, or with neither where the client
            was detached.
    """

    __slots__ = (
        "_for_message",
        "_right",
        "answer",
        "client",
        "connection",
        "error",
        "lasting",
        "over",
        "running",
        "submitted",
        "topic",
        "until",
        "wakeups",
    )

    def __init__(
        self, connection: Connection, client: Client, topic: str, until: float
    ) -> None:
        self.connection = connection
        self.client = client
        self._right: list[None] = [None]
        self._for_message = False
        self.topic = topic
        self.until = until
        self.lasting = 0.0
        self.wakeups: dict[Wakeup, None] = {}
        self.answer: Any = None
        self.error: Exception | None = None
        self.over = self.running = self.submitted = False

    @property
    def answered(self) -> bool:
        """Whether it ended with an answer or an error."""
        return self.answer is not None or self.error is not None

    @property
    def unanswered(self) -> bool:
        """Whether it ended with an error because no broker answered in time."""
        native = None if self.error is None else kafka_error_of(self.error)
        return native is not None and code_name(native) in _NO_ANSWER

    def outcome(self) -> Any:
        """The answer; raises the error instead."""
        if isinstance(self.error, KafkaException):
            raise KafkaException(*self.error.args)  # one for each caller
        if self.error is not None:
            raise self.error
        return self.answer

    def keep_for_message(self) -> None:
        """Ask even when the client is detached: the caller has a message in flight."""
        self._for_message = True

    def submit(self) -> None:
        """Have a worker run it. Again does no harm, and helps where a signal handler
        raised the first time (test_an_interrupted_request_is_submitted_by_the_next)."""
        if not self.submitted:
            self.connection.runtime.workers.submit(self.run)
            self.submitted = True

    def run(self) -> None:
        """Ask until there is an answer, or no time left. Again does no harm."""
        try:
            self._right.pop()
        except IndexError:
            return
        try:
            self._refuse_inside_a_poll()
            self._ask()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        finally:
            self.running = False
            if self.client.asking.requests.get(self.topic) is self:
                del self.client.asking.requests[self.topic]
            self.over = True
            for wakeup in list(self.wakeups):
                wakeup()

    def withdraw(self) -> None:
        """Forget it, for lack of a thread, unless a caller waits for it."""
        if not self.wakeups and self.client.asking.requests.get(self.topic) is self:
            del self.client.asking.requests[self.topic]

    def _refuse_inside_a_poll(self) -> None:
        """Raise inside a callback of the client, where no thread can start: a native
        call inside the client's own poll would end the process."""
        if self.client.served_here and not self.client.between_polls:
            raise ReentrantCallError(
                "metadata was asked for inside a callback of the same client, and no "
                "thread can be started any more to ask for it"
            )

    def _ask(self) -> None:
        wait = FIRST
        while True:
            # This sets `running` and then looks for the client. A teardown comes after
            # the client was closed to users, and then reads `running`. One of the two
            # sees the other (test_a_close_waits_for_a_metadata_request).
            self.running = True
            client = self.client.native
            if client is None or not self._kept():
                return
            try:
                left = min(wait, self.until - clock.system_now())
                self.answer = list_topics(client, self.topic, timeout=max(0.001, left))
            except KafkaException as error:
                native = kafka_error_of(error)
                code = "" if native is None else code_name(native)
                now = clock.system_now()
                left_alone = not self.wakeups and now >= self.lasting
                if now >= self.until or left_alone or code not in _NO_ANSWER:
                    raise
                if code == "timed_out":
                    wait = inf
                sleep(_BETWEEN)
            else:
                wanted = bool(self.wakeups) or self.lasting > 0
                self._keep_answer(wanted=wanted)
                return
            finally:
                self.running = False

    def _keep_answer(self, *, wanted: bool) -> None:
        """Keep the number of partitions, and the brokers.

        `wanted`: a caller asked for it. Otherwise the number is kept only if one was
        known before: most producers need none, and each takes 0.3 KB.
        """
        partitions = self.connection.partitions
        if wanted or partitions.count(self.topic) is not None:
            partitions.learn(self.topic, self.answer)
        if self.client.asking.ask is None or not hasattr(self.answer, "cluster_id"):
            return  # of a test double
        self.client.asking.ask_again_in(EVERY)
        error = self.connection.factory.brokers.take(self.answer)
        if error is not None:
            # This client may be of the other cluster.
            self.client.asking.ask_no_more()
            self.connection.emitter.error("librdkafka.error", error)

    def _kept(self) -> bool:
        client = self.client
        return self.connection.current_client is client or (
            self._for_message and client.given_up is None
        )


_NO_ANSWER: Final = frozenset({"transport", "timed_out"})


def ask_for_message(
    connection: Connection, client: Client, topic: str, deadline: float
) -> Any:
    """`ask`, of `client` alone, also while its producer closes.

    The caller is a library thread, and makes the native call itself. It has a message
    that `client` counts as in flight.

    Raises:
        KafkaException: librdkafka's answer is an error.
        TimeoutError: `deadline` is over, or the client was given up.
    """
    while True:
        request = joined(connection, client, topic, deadline)
        # A background request has less time, and may have ended with its client as
        # this caller joined it (test_a_topic_that_shrank_at_the_exit).
        answered = wait_for(request, deadline, None, for_message=True)
        over = clock.system_now() >= deadline or client.given_up is not None
        if answered and (over or not request.unanswered):
            return request.outcome()
        if over:
            raise TimeoutError("no answer in time")


def ask_in_background(
    connection: Connection, topic: str, timeout: float = BACKGROUND
) -> None:
    """Ask on a library thread, if a client is open.

    Returns at once. It is not activity, and does not keep the client open. At
    interpreter exit no thread may start, and then nothing is asked: neither the poller
    nor the caller waits for an answer (test_without_a_thread_nothing_is_asked).
    """
    client, caller = connection.client, caller_id()
    if client.native is None:
        return
    request = joined(connection, client, topic, clock.system_now() + timeout)

    def job() -> None:
        if caller_id() == caller or connection.runtime.poller.polls_here:
            request.withdraw()
        else:
            request.run()
            _emit_foreign_error(request)

    connection.runtime.workers.submit(job)


def _emit_foreign_error(request: Request) -> None:
    error = request.error
    if error is not None and not isinstance(error, KafkaException):
        request.client.asking.ask_no_more()  # that client is not asked again
        request.connection.emitter.error("librdkafka.error", error)


def joined(connection: Connection, client: Client, topic: str, until: float) -> Request:
    """The request that is in progress, or a new one."""
    request: Request = client.asking.requests.setdefault(
        topic, Request(connection, client, topic, until)
    )
    request.until = max(request.until, until)
    return request


def wait_for(
    request: Request,
    deadline: float,
    on_poll: Callable[[Client], None] | None,
    *,
    for_message: bool = False,
    active: bool = False,
) -> bool:
    """Wait until `request` is answered; False if `deadline` is over, or the client was
    detached."""
    connection, client, asked = request.connection, request.client, clock.now()
    wakeup = Wakeup()
    try:
        # This adds a wake-up to `callers` and then reads `connection.current_client`. A
        # disconnect reads `callers`, and then closes the client. One of the two sees
        # the other (test_a_client_is_kept_while_a_caller_waits_for_metadata). While it
        # decides, this waits (test_a_caller_stays_while_a_disconnect_decides). The
        # entry stays until this caller leaves, also once there is an answer
        # (test_an_answered_caller_keeps_the_client_until_it_leaves).
        client.asking.callers[wakeup] = None
        request.wakeups[wakeup] = None
        if for_message:
            request.keep_for_message()
            request.run()
        else:
            request.submit()
        wait = _SHORTEST
        while not request.over:
            left = deadline - clock.system_now()
            if left <= 0 or not (for_message or connection.current_client is client):
                return False
            if wakeup.wait(min(left, wait)):
                continue
            wait = min(2 * wait, _LONGEST)
            connection.runtime.workers.start_if_needed()
            waiting.serve_arrived(client)
            if on_poll is not None:
                on_poll(client)
        if active and request.answer is not None:
            # Before the entry in `callers` is removed: the reaper may be deciding
            # (test_a_due_client_is_active_before_it_is_left).
            client.connected(asked)
        return request.answered
    finally:
        # First, and in one call of C: an entry that stayed would keep the client for
        # good (test_a_caller_that_is_interrupted_as_it_leaves_keeps_no_client).
        client.asking.callers.pop(wakeup, None)
        request.wakeups.pop(wakeup, None)
        if client.refusals:
            connection.reschedule()
