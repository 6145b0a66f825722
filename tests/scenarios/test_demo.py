"""`waterdrop demo`, as a user starts it: a process of its own, with a hard limit."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import IO, TYPE_CHECKING

import pytest

from tests.scenarios.harness import default_sigint
from waterdrop_py.cli.demo.pool_summary import PoolOutcome
from waterdrop_py.cli.demo.summary import Outcome, percentile
from waterdrop_py.cli.demo.usage import Resources

if TYPE_CHECKING:
    from pathlib import Path

    from waterdrop_py.testing import EmbeddedCluster

COMMAND = [sys.executable, "-m", "waterdrop_py"]
RUN_S = 20.0  # what the demo promises
UNREACHABLE_S = 10.0
END_S = 5.0
LIMIT_S = 60.0
CTRL_C = b"\x03"
TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}

WELL = Outcome(
    sent=[b"a", b"b", b"c"],
    acknowledged=3,
    read_back=[b"c", b"a", b"b"],
    idle=Resources(0, 0, 0),
    late_ms=[0.5],
    producers=1,
    bare=Resources(3, 5, 11),
    wake_up_ms=[1.0],
    fresh_ms=[1.0],
    seconds=12.0,
)


def start(
    command: list[str],
    stdin: int,
    stdout: IO[str] | int,
    stderr: IO[str] | int,
    **environment: str,
) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, so that a terminal can be its own too."""
    with default_sigint():
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **TERMINAL, **environment},
            start_new_session=True,
        )


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the command without a terminal; exit code, stdout and stderr."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def wait_for(path: Path, words: str) -> None:
    """Wait until the file has these words."""
    deadline = time.monotonic() + LIMIT_S
    while words not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.02)


def assert_delivered(out: str) -> None:
    """What was sent is there, once."""
    counted = re.search(r"sent (\d+), acknowledged (\d+), read back (\d+)\n(.*)", out)
    assert counted is not None, out
    sent, acknowledged, read_back, rest = counted.groups()
    assert int(sent) > 300
    assert sent == acknowledged == read_back
    assert rest.split() == ["lost", "0,", "duplicated", "0"]


@pytest.mark.timed
@pytest.mark.long
def test_all_figures_are_said_without_a_terminal() -> None:
    """In under 20 s, in plain lines, with nothing lost, doubled or left open."""
    started = time.monotonic()
    code, out, err = run("demo")
    took = time.monotonic() - started
    assert (code, err) == (0, ""), out + err
    assert took < RUN_S
    assert "\x1b" not in out
    assert_delivered(out)
    assert re.search(r"^  6 waterdrop producers +0 +0 +0$", out, re.MULTILINE)
    assert re.search(r"^  6 bare clients +[1-9]\d* +30 +\d+$", out, re.MULTILINE)
    disconnects = re.search(r"disconnects +(\d+), (\d+\.\d) to \d", out)
    assert disconnects is not None, out
    assert int(disconnects[1]) >= 12  # each of the six, twice
    counts = re.findall(r"p50 \d+\.\d\d ms  p90 \d+\.\d\d ms  n (\d+)$", out, re.M)
    assert len(counts) == 2
    assert 10 <= int(counts[0]) <= 100  # a slow machine gets fewer, not more time
    assert max(map(len, out.splitlines())) <= 60


def assert_tables(out: str) -> None:
    """A row for each producer, and the totals: ours, and those of the bare clients."""
    assert re.search(r"^invoices +connected +\d+ +\d+$", out, re.MULTILINE)
    assert re.search(r"^invoices +disconnected +- +\d+$", out, re.MULTILINE)
    ours, bare = {}, {}
    for name in ("sockets", "librdkafka threads", "descriptors", "acknowledged"):
        rows = re.findall(rf"^{name} +(\d+) +(\d+)$", out, re.MULTILINE)
        assert len(rows) == 7, out
        ours[name], bare[name] = ([int(row[side]) for row in rows] for side in (0, 1))
    for name in ("sockets", "librdkafka threads", "descriptors"):
        # Ours hold nothing before the first send and while idle; the bare ones hold on.
        assert [ours[name][step] for step in (0, 3, 6)] == [0, 0, 0], out
        assert min(bare[name][1:]) > 0
        assert bare[name][3] >= ours[name][1] > 0
    # Both have sent the same.
    assert ours["acknowledged"][6] == bare["acknowledged"][6] > 300


def test_interrupted_it_ends_cleanly(tmp_path: Path) -> None:
    """SIGINT in the middle: exit code 130 in a moment, and no traceback."""
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = start([*COMMAND, "demo"], subprocess.DEVNULL, stdout, stderr)
    try:
        wait_for(out, "all send")
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 130
    finally:
        process.kill()
        process.wait()
    assert err.read_text() == "waterdrop: interrupted\n"


INSIDE_A_BARE_CLIENT = """
import os, signal, sys
from waterdrop_py.cli import main
from waterdrop_py.cli.demo import baseline, scenario

class Interrupts:
    def __str__(self):
        os.kill(os.getpid(), signal.SIGINT)
        return "0"

baseline.QUIET = {"log_level": Interrupts()}
scenario.Scenario.run = lambda self: baseline.first_delivery_ms(self._target)
sys.exit(main(["demo"]))
"""


def test_interrupted_inside_a_bare_client(tmp_path: Path) -> None:
    """confluent-kafka makes a TypeError of Ctrl-C there; the exit code is 130."""
    err = tmp_path / "err"
    with err.open("w") as stderr:
        command = [sys.executable, "-c", INSIDE_A_BARE_CLIENT]
        process = start(command, subprocess.DEVNULL, subprocess.DEVNULL, stderr)
    try:
        assert process.wait(LIMIT_S) == 130, err.read_text()
    finally:
        process.kill()
        process.wait()
    assert err.read_text() == "waterdrop: interrupted\n"


def read_terminal(terminal: int, until: bytes = b"") -> bytes:
    """What the command draws, until these bytes, or until it has ended."""
    drawn = b""
    deadline = time.monotonic() + LIMIT_S
    while not until or until not in drawn:
        assert time.monotonic() < deadline, drawn
        try:
            drawn += os.read(terminal, 65_536)
        except OSError:  # EIO: the other side is closed
            break
    return drawn


def drawn_until_ctrl_c(columns: int = 80, **environment: str) -> bytes:
    """What the command draws on a terminal, which gets Ctrl-C in the middle."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        # A session of its own has no terminal until it opens one: script that.
        takes_it = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); "
        runs_it = "from waterdrop_py.cli import main; sys.exit(main(['demo']))"
        command = [sys.executable, "-c", takes_it + runs_it]
        environment["COLUMNS"] = str(columns)
        process = start(command, theirs, theirs, theirs, **environment)
        os.close(theirs)
        try:
            drawn = read_terminal(ours, until=b"all send")
            os.write(ours, CTRL_C)
            drawn += read_terminal(ours)
            assert process.wait(END_S) == 130, drawn
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(ours)
    assert b"waterdrop: interrupted" in drawn
    assert b"Traceback" not in drawn
    return drawn


@pytest.mark.parametrize(
    ("columns", "environment"), [(60, {}), (80, {"NO_COLOR": "1"}), (120, {})]
)
def test_ctrl_c_on_a_terminal_gives_the_terminal_back(
    columns: int, environment: dict[str, str]
) -> None:
    """The live table ends with exit code 130, no traceback, and a visible cursor."""
    drawn = drawn_until_ctrl_c(columns, **environment)
    hidden, shown = drawn.rfind(b"\x1b[?25l"), drawn.rfind(b"\x1b[?25h")
    assert 0 <= hidden < shown
    coloured = re.search(rb"\x1b\[[0-9;]*3[0-7]m", drawn) is not None
    assert coloured is not bool(environment)
    # Without control codes, and without what the terminal itself shows for Ctrl-C.
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\^C", b"", drawn).decode()
    assert max(map(len, plain.replace("\r", "\n").split("\n"))) <= columns
    assert re.search(r"sockets +\d+ +[1-9]", plain)


def test_a_terminal_without_a_cursor_gets_plain_lines() -> None:
    """TERM=dumb: no control codes, and a printed table for each step."""
    drawn = drawn_until_ctrl_c(TERM="dumb")
    assert b"\x1b" not in drawn
    assert drawn.count(b"producer  status") == 2


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["kafka://127.0.0.1:1"], {}),
        (["kafka://127.0.0.1:1", "--pool"], {}),
        (["--url", "kafka://127.0.0.1:1"], {"WATERDROP_URL": "kafka://127.0.0.1:2"}),
        ([], {"WATERDROP_URL": "kafka://127.0.0.1:1"}),
        (["kafka://127.0.0.1:1"], {"WATERDROP_URL": "kafka://127.0.0.1:2"}),
    ],
)
def test_a_broker_that_is_not_there_is_explained(
    arguments: list[str], environment: dict[str, str]
) -> None:
    """Exit code 1 within 10 s, and the checklist for a refused connection."""
    started = time.monotonic()
    code, _, err = run("demo", *arguments, **environment)
    assert time.monotonic() - started < UNREACHABLE_S
    assert code == 1
    assert err.startswith("waterdrop: no broker of '127.0.0.1:1' answered")
    assert "- connection refused: is the broker running" in err
    assert "Traceback" not in err


def test_a_url_that_is_none_is_explained() -> None:
    """Exit code 2, what would be legal, and no password."""
    code, out, err = run("demo", "kafkaa://user:hush-hush@host:9092")
    assert (code, out) == (2, "")
    assert "kafka+sasl_ssl" in err
    assert "hush-hush" not in err
    assert "Traceback" not in err


def test_the_former_option_is_answered() -> None:
    """Exit code 2, and what to write instead."""
    code, _, err = run("demo", "--bootstrap-servers", "h1:9092,h2:9092")
    assert code == 2
    assert "waterdrop demo kafka://h1:9092,h2:9092" in err


@pytest.mark.long
def test_a_cluster_of_the_users(waterdrop_cluster: EmbeddedCluster) -> None:
    """The topic is created and deleted there, with the properties of the URL."""
    properties = "client.id=mine&compression.type=zstd&enable.idempotence=true"
    url = f"kafka://{waterdrop_cluster.bootstrap_servers}/?{properties}"
    code, out, err = run("demo", "--url", url)
    assert code == 0, out + err
    assert f"on {waterdrop_cluster.bootstrap_servers}" in out
    assert "lost 0, duplicated 0" in out


@pytest.mark.timed
@pytest.mark.long
def test_pools() -> None:
    """In under 20 s, with nothing lost, doubled or left open: sockets by second."""
    started = time.monotonic()
    code, out, err = run("demo", "--pool")
    took = time.monotonic() - started
    assert (code, err) == (0, ""), out + err
    assert took < RUN_S
    assert "\x1b" not in out
    assert_delivered(out)
    row = r"^ *[\d.]+ s  ([#.]{8}) +(\d) +(\d+) +(\d+)$"
    rows = re.findall(row, out, re.MULTILINE)
    burst = max(int(sockets) for slots, _, sockets, _ in rows if slots == "#" * 8)
    alone = [row for row in rows if row[0] == "#......."]
    assert len(alone) >= 2  # slot 0 works on, second by second
    assert int(alone[-1][3]) > int(alone[0][3])
    assert 1 <= int(alone[-1][2]) <= 4 < burst
    assert re.search(r"^ +slots 1 to 7, then +0 +0 +0$", out, re.MULTILINE)
    assert re.search(r"^libraries +2: pools 1, clients opened 1$", out, re.MULTILINE)
    assert re.search(r"^tenants +12: pools 12$", out, re.MULTILINE)
    assert re.search(r"^ +tenants, as they send +[1-9]\d+ ", out, re.MULTILINE)
    assert re.search(r"^ +all pools, in the end +0 +0 +0$", out, re.MULTILINE)


@pytest.mark.long
def test_without_rich_it_writes_plain_lines() -> None:
    """What `pip install waterdrop-py` brings is enough, also on a terminal."""
    without_rich = (
        "import sys; sys.modules['rich'] = None; "
        "from waterdrop_py.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", without_rich],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert_delivered(done.stdout)
    assert_tables(done.stdout)


@pytest.mark.long
def test_without_the_bare_process_it_goes_on(tmp_path: Path) -> None:
    """Bare clients that cannot be started are not compared with; ours are shown."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif sys.argv[0] == '-c':\n    raise SystemExit(1)\n"
    )
    code, out, err = run("demo", PYTHONPATH=str(tmp_path))
    assert (code, err) == (0, ""), out + err
    assert_delivered(out)
    assert re.search(r"^  6 bare clients +- +- +-$", out, re.MULTILINE)


def test_help_and_version() -> None:
    """`--help` names the demo, `--version` the version; no command is exit code 2."""
    code, out, _ = run("--help")
    assert code == 0
    assert "demo" in out
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"waterdrop \d+\.\d+\.\d+\S*\n", out)
    assert run()[0] == 2


def test_all_is_well_when_everything_came_back_once() -> None:
    """No problem, and a verdict that says so, whatever the order."""
    assert WELL.problems() == []
    assert WELL.conclusion().startswith(
        "OK: nothing lost or duplicated, no socket kept"
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"read_back": [b"a", b"c"]}, "1 messages were lost"),
        ({"read_back": [b"a", b"b", b"b", b"c"]}, "1 messages were duplicated"),
        ({"acknowledged": 2}, "1 messages were not acknowledged"),
        ({"idle": Resources(2, 0, 4)}, "2 sockets stayed open while idle"),
    ],
)
def test_what_went_wrong_is_a_problem(changed: dict[str, object], problem: str) -> None:
    """Each kind of failure makes the demo fail, and is named."""
    outcome = dataclasses.replace(WELL, **changed)  # type: ignore[arg-type]
    assert outcome.problems() == [problem]
    assert outcome.conclusion().startswith(f"FAILED: {problem}")


def test_a_loss_and_a_duplicate_do_not_cancel_out() -> None:
    """As many read back as sent, and still one is lost and one is there twice."""
    outcome = dataclasses.replace(WELL, read_back=[b"a", b"b", b"b"])
    assert (outcome.lost, outcome.duplicated) == (1, 1)


def test_what_cannot_be_counted_is_not_claimed() -> None:
    """Without /proc the verdict does not say that no socket stayed."""
    outcome = dataclasses.replace(WELL, idle=None)
    assert outcome.problems() == []
    assert "no socket kept" not in outcome.conclusion()


POOLS_WELL = PoolOutcome(
    sent=[b"a", b"b"],
    acknowledged=2,
    read_back=[b"b", b"a"],
    size=8,
    burst=Resources(32, 40, 72),
    slot_0=Resources(4, 5, 9),
    tail=Resources(0, 0, 0),
    tail_asleep=7,
    libraries=2,
    library_pools=1,
    library_opens=1,
    tenants=12,
    tenant_pools=12,
    tenants_held=Resources(24, 60, 84),
    idle=Resources(0, 0, 0),
    seconds=15.0,
)


def test_pools_are_well_when_the_tail_slept() -> None:
    """No problem, and a verdict that says so, in lines of 60 columns."""
    assert POOLS_WELL.problems() == []
    assert POOLS_WELL.conclusion().startswith("OK: nothing lost or duplicated")
    assert max(map(len, POOLS_WELL.report())) <= 60


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"read_back": [b"a"]}, "1 messages were lost"),
        ({"read_back": [b"a", b"b", b"b"]}, "1 messages were duplicated"),
        ({"acknowledged": 1}, "1 messages were not acknowledged"),
        ({"tail_asleep": 5}, "2 slots of the tail did not fall asleep"),
        ({"tail": Resources(3, 5, 8)}, "3 sockets of the tail stayed open"),
        ({"idle": Resources(2, 0, 2)}, "2 sockets stayed open while idle"),
        (
            {"library_pools": 2, "library_opens": 2},
            "the libraries had 2 pools and 2 clients, instead of one",
        ),
        ({"tenant_pools": 11}, "12 tenants had 11 pools"),
    ],
)
def test_what_went_wrong_with_pools_is_a_problem(
    changed: dict[str, object], problem: str
) -> None:
    """Each kind of failure makes the demo fail, and is named."""
    outcome = dataclasses.replace(POOLS_WELL, **changed)  # type: ignore[arg-type]
    assert outcome.problems() == [problem]
    assert outcome.conclusion().startswith(f"FAILED: {problem}")


def test_percentiles_are_values_that_were_measured() -> None:
    """The nearest rank: of 100 values, p99 is the second largest."""
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7.0], 99) == 7.0
