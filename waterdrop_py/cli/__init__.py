"""The command line `waterdrop`: its arguments and exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""128 plus the number of SIGINT, as in a shell."""
LAST_PORT: Final = 65_535
URL_VARIABLE: Final = "WATERDROP_URL"
"""The environment variable that names the cluster, as for `Config.from_env`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (None: `sys.argv`); the exit code.

    Blocks until the command has ended. 0: all is well; 1: it failed; 2: it cannot be
    run; 130: it was interrupted. Raises `SystemExit` for `--help`, `--version` and
    invalid arguments.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if None not in {arguments.url, arguments.option}:
        parser.error("give one URL: as an argument, or with --url")
    try:
        return _demo(arguments)
    except KeyboardInterrupt:
        print("waterdrop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output is gone. The interpreter must not flush it again.
        sys.stdout = None
        return FAILED


def _demo(arguments: argparse.Namespace) -> int:
    from waterdrop_py.cli.demo import pool_scenario, scenario
    from waterdrop_py.cli.demo.metrics import NotServedError
    from waterdrop_py.cli.demo.running import run
    from waterdrop_py.config import Config
    from waterdrop_py.errors import ConfigurationInvalidError

    given = (arguments.url, arguments.option, os.environ.get(URL_VARIABLE) or None)
    url = next((each for each in given if each is not None), None)
    try:
        cluster = None if url is None else Config.from_url(url).kafka
    except ConfigurationInvalidError as error:
        print(f"waterdrop: {error}", file=sys.stderr)
        return USAGE
    play = pool_scenario.play if arguments.pool else scenario.play
    try:
        return run(cluster, play, arguments.metrics)
    except NotServedError as error:
        print(f"waterdrop: --metrics: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="waterdrop", description="Kafka producers that cost nothing while idle."
    )
    parser.add_argument(
        "--version", action="version", version=f"waterdrop {version('waterdrop-py')}"
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    summary = "watch producers send, idle, disconnect and wake up; takes 12 to 18 s"
    command = commands.add_parser("demo", help=summary, description=summary)
    command.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="a Kafka cluster of yours, as kafka://HOST:PORT,... or "
        "kafka+sasl_ssl://USER:PASSWORD@HOST:PORT, in which a topic is created and "
        "deleted again. Properties of librdkafka may follow, as in "
        f"/?ssl.ca.location=FILE. By default what {URL_VARIABLE} says, else a mock "
        "cluster that is started on this machine",
    )
    command.add_argument(
        "--url", dest="option", metavar="URL", help="the same, as an option"
    )
    command.add_argument(
        "--pool",
        action="store_true",
        help="watch pools instead: concurrent transactions, libraries that share a "
        "process, and tenants",
    )
    command.add_argument(
        "--metrics",
        type=_port,
        metavar="PORT",
        help="serve metrics for Prometheus meanwhile, at this port of every address "
        "of this machine (0: any free one)",
    )
    command.add_argument(
        "--bootstrap-servers",
        action=_Replaced,
        help=argparse.SUPPRESS,
    )
    return parser


def _port(text: str) -> int:
    """The argument of `--metrics`; raises `ArgumentTypeError` unless it is a port."""
    if not text.isascii() or not text.isdigit() or int(text) > LAST_PORT:
        raise argparse.ArgumentTypeError(
            f"must be a port from 1 to {LAST_PORT}, or 0 for any, got {text!r}"
        )
    return int(text)


class _Replaced(argparse.Action):
    """An option of former versions, which is answered with what to write instead."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        del namespace
        parser.error(
            f"{option_string} was replaced by a URL: waterdrop demo kafka://{values}"
        )
