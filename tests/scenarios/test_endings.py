"""How interpreters end: silently, and at all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import ROOT, run_scenario

if TYPE_CHECKING:
    from pathlib import Path

HOLDERS = {
    "module": "state.held = make()",
    "class": "class Holder:\n    held = make()",
    "main": "held = make()",
    "cycle": "box = [make()]; box.append(box); del box",
    "local": "import threading\nlocal = threading.local(); local.held = make()",
    "context": "import contextvars\nvar = contextvars.ContextVar('v'); var.set(make())",
    "default": "def function(held=make()): pass",
    "variant": "state.held = make().variant(topic_config={'acks': 1})\n"
    "state.held.produce_sync(sys.argv[2], b'x')",
    "block": "state.held = make()\nstate.block = state.held.native()\n"
    "state.block.__enter__()",
    "builtins": "import builtins\nbuiltins.held = make()",
    "closed": "state.held = make(); state.held.close()",
    "unused": "state.held = waterdrop_py.Producer(kafka=KAFKA)",
}
MAIN = """
import logging, sys, types
state = types.ModuleType("state"); sys.modules["state"] = state
logging.state = state  # alive until the last modules are emptied
import waterdrop_py
KAFKA = {"bootstrap.servers": sys.argv[1], "linger.ms": 0}
def make():
    producer = waterdrop_py.Producer(
        kafka=KAFKA, idle_disconnect_timeout="30s", close_timeout="2s")
    producer.monitor.subscribe("message.acknowledged", lambda event: None)
    producer.produce_async(sys.argv[2], b"x")
    return producer
"""


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_producer_in_a_module_that_was_imported_earlier(
    holder: str, python: str, servers: str, topic: str
) -> None:
    """Whoever holds a producer as the interpreter empties its modules, nothing is
    written by a finalizer."""
    source = MAIN + HOLDERS[holder]
    outcome = run_scenario(source, servers, topic, python=python)

    outcome.assert_clean()
    if holder != "block":  # that its client was given up is said
        assert outcome.err == ""


SUBINTERPRETER = """
import sys
import _xxsubinterpreters as interpreters
sub = interpreters.create(isolated=False)
interpreters.run_string(sub, '''
import sys
sys.path[:] = %r
import waterdrop_py
from waterdrop_py.testing import allow_short_idle_timeouts
with allow_short_idle_timeouts():
    producer = waterdrop_py.Producer(
        kafka={"bootstrap.servers": %r, "linger.ms": 0}, idle_disconnect_timeout=%r)
if %r:
    waterdrop_py.monitor.subscribe("error.occurred", print)
def broken(_):
    raise LookupError
producer.produce_sync(%r, b"x", timeout=10)
for _ in range(5):
    producer.produce_async(%r, b"x").add_done_callback(broken)
assert producer.flush(10) == 0
producer.produce_async(%r, b"x").result(10)
producer.close()
''' % (sys.path, sys.argv[1], 100_000, sys.argv[3] == "heard", *[sys.argv[2]] * 3))
interpreters.destroy(sub)
print('{"ended": true}', flush=True)
"""


@pytest.mark.parametrize("errors", ["heard", "logged"])
def test_a_sub_interpreter_can_be_ended(
    errors: str, python: str, servers: str, topic: str
) -> None:
    """After `close()` no thread of the library is left in it, also when somebody hears
    of errors, and when the log has held some back: those are said by then."""
    version = subprocess.run(
        [python, "-c", "import _xxsubinterpreters"], capture_output=True, check=False
    )
    if version.returncode:
        pytest.skip("this Python has no sub-interpreter that shares the GIL's modules")
    source = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + SUBINTERPRETER
    outcome = run_scenario(source, servers, topic, errors, python=python)

    assert outcome.code == 0, str(outcome)
    assert outcome.one("ended") is True
    assert ("and 3 more" in outcome.err) is (errors == "logged"), str(outcome)


FROZEN = {
    "frozen": "sys.frozen, sys.executable = True, sys.argv[1]",
    "embedded": "sys.executable = ''",
    "uwsgi": "import types; sys.modules['uwsgi'] = types.ModuleType('uwsgi')\n"
    "sys.executable = sys.argv[1]",
}


@pytest.mark.parametrize("kind", FROZEN)
def test_a_cluster_where_there_is_no_interpreter(kind: str, tmp_path: Path) -> None:
    """`sys.executable` may be the application itself: that is said, and not started."""
    application, starts = tmp_path / "app", tmp_path / "starts"
    application.write_text(f"#!/bin/sh\necho started >> {starts}\n")
    application.chmod(0o755)
    program = f"""
import sys
from waterdrop_py.testing import EmbeddedCluster
{FROZEN[kind]}
try:
    EmbeddedCluster().start()
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(application)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=ROOT,
    )

    assert "sys.executable" in done.stdout
    assert "nothing was started" in done.stdout
    assert not starts.exists()
