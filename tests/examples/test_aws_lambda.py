"""examples/aws_lambda, with AWS's runtime client and a stand-in for its service."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.scenarios.servers import MODULE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.examples.conftest import MakeExample

WAIT_S = 30.0
FROZEN_S = 0.5
HEADERS = {
    "Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
    "Deadline-Ms": "4102444800000",  # in 2100
    "Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:forward",
    "Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
}


class Service:
    """What AWS Lambda does: it hands out events and takes what functions return."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.address = ""

    def invoke(self, *bodies: str) -> None:
        """Have a batch of an SQS queue forwarded."""
        records = [{"messageId": f"id-{body}", "body": body} for body in bodies]
        self.events.put({"Records": records})

    def result(self) -> dict[str, Any]:
        """What the next invocation that ends has returned."""
        return self.results.get(timeout=WAIT_S)


@pytest.fixture
def service() -> Iterator[Service]:
    """The runtime API, on a port of this machine."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Give the next event, as soon as there is one."""
            with contextlib.suppress(queue.Empty, ConnectionError):
                event = service.events.get(timeout=WAIT_S)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                for name, value in HEADERS.items():
                    self.send_header(f"Lambda-Runtime-{name}", value)
                self._end(json.dumps(event).encode())

        def do_POST(self) -> None:
            """Take a result."""
            length = int(self.headers["Content-Length"])
            service.results.put(json.loads(self.rfile.read(length)))
            self.send_response(202)
            self._end(b"{}")

        def _end(self, body: bytes) -> None:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield service
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("processes", [None, 2])
def test_nothing_is_lost_between_invocations(
    processes: int | None, example: MakeExample, service: Service
) -> None:
    """Before a function returns, all that it sent is there, once. The process is frozen
    between invocations and stopped at the end; what fails is named to SQS. A runtime
    that serves several invocations at a time forks a process for each."""
    function = example("aws_lambda")
    environment = {"AWS_LAMBDA_RUNTIME_API": service.address}
    if processes is not None:
        environment["AWS_LAMBDA_MAX_CONCURRENCY"] = str(processes)
    command = [*MODULE, "awslambdaric", "handler.handler"]
    with function.serve(*command, linger_ms=0, **environment) as runtime:
        group = runtime.process.pid
        sent = [f"{batch}-{n}" for batch in range(4) for n in range(5)]
        for batch in range(4):
            service.invoke(*sent[batch * 5 : batch * 5 + 5])
            assert service.result() == {"batchItemFailures": []}
            os.killpg(group, signal.SIGSTOP)
            assert function.arrived("orders") == Counter(sent[: batch * 5 + 5])
            time.sleep(FROZEN_S if batch == 0 else 0)
            os.killpg(group, signal.SIGCONT)
        function.cluster.push_errors("Produce", "topic_authorization_failed")
        service.invoke("refused")
        failed = [{"itemIdentifier": "id-refused"}]
        assert service.result() == {"batchItemFailures": failed}
        assert len(set(runtime.facts("opened_by"))) in range(1, 1 + (processes or 1))
        os.killpg(group, signal.SIGTERM)
        runtime.process.wait(WAIT_S)
    assert function.arrived("orders") == Counter(sent)
