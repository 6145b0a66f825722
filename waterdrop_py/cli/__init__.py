"""The command line `waterdrop`: its arguments and exit codes."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""128 plus the number of SIGINT, as in a shell."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (None: `sys.argv`); the exit code.

    Blocks until the command has ended. 0: all is well; 1: it failed; 2: it cannot be
    run; 130: it was interrupted. Raises `SystemExit` for `--help`, `--version` and
    invalid arguments.
    """
    arguments = _parser().parse_args(argv)
    if find_spec("rich") is None:
        print(
            "waterdrop: `waterdrop demo` draws with rich, which is not installed; "
            "this installs it: pip install 'waterdrop-py[cli]'",
            file=sys.stderr,
        )
        return USAGE
    try:
        from waterdrop_py.cli.demo.scenario import demo

        return demo(arguments.bootstrap_servers)
    except KeyboardInterrupt:
        print("waterdrop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output is gone. The interpreter must not flush it again.
        sys.stdout = None
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="waterdrop", description="Kafka producers that cost nothing while idle."
    )
    parser.add_argument(
        "--version", action="version", version=f"waterdrop {version('waterdrop-py')}"
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    summary = "watch producers send, idle, disconnect and wake up; takes 12 to 15 s"
    command = commands.add_parser("demo", help=summary, description=summary)
    command.add_argument(
        "--bootstrap-servers",
        metavar="HOST:PORT,...",
        help="a Kafka cluster of yours (plaintext), in which a topic is created and "
        "deleted again; without it a mock cluster is started on this machine",
    )
    return parser
