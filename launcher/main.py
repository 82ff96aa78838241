"""The command line of the launcher."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.checks import run_test
from launcher.console import LauncherError, be_quiet, say, warn
from launcher.postgres import PrivateDatabase
from launcher.processes import Stopped, run_attached, stop_request
from launcher.site import (
    add_client_access,
    build_site_environment,
    check_servers,
    has_own_database,
    read_user_environment,
)
from launcher.state import State
from launcher.up import Options, run_down, run_up
from launcher.venv import Environment

DESCRIPTION = "Countinghouse on this machine, from a bare checkout to a running site."
EPILOG = """\
commands:
  up               install, start PostgreSQL, web, worker and beat; Ctrl-C stops everything
                     --port 8087, --host 127.0.0.1, --no-sample (no sample data in an empty database),
                     --stripe-sandbox (payments through a Stripe of your own on this machine)
  down             stop what runs in this folder
  test [ARGS]      every check and test; with ARGS only pytest with them (--all: the checks too)
  manage ARGS      Django's manage.py in the same environment
  shell            a shell with that environment: python, manage.py and `billing` work
  reset            stop and delete the private database, secrets and logs (--yes: do not ask)

environment:
  DATABASE_URL     a PostgreSQL of your own (15 or newer) instead of the private one
  REDIS_URL        a Redis as broker instead of files
  BILLING_*        the settings of .env.example
  COUNTINGHOUSE_STATE_DIR   where the private database, secrets and logs live (.countinghouse)
"""


def run_in_site(state: State, arguments: Sequence[str]) -> int:
    """Run a command in the site's environment, with the private database up while it lasts."""
    state.prepare()
    stop_request.install()
    Environment(state).ensure("runtime")
    user = read_user_environment()
    environment = build_site_environment(user, state)
    add_client_access(environment, state)
    if has_own_database(user):
        check_servers(user)
        return run_attached(arguments, environment=environment, cwd=state.checkout)
    database = PrivateDatabase(state, state.secrets()["database_password"])
    try:
        environment["BILLING_DATABASE_URL"] = database.open(tied=False)
        return run_attached(arguments, environment=environment, cwd=state.checkout)
    finally:
        database.close()


def run_manage(state: State, arguments: Sequence[str]) -> int:
    be_quiet()
    return run_in_site(state, [str(state.python), "manage.py", *arguments])


def run_shell(state: State) -> int:
    say("a shell with the environment of the site; leave it with Ctrl-D")
    return run_in_site(state, [os.environ.get("SHELL", "/bin/sh")])


def run_reset(state: State, *, is_confirmed: bool) -> int:
    """Delete the private database and everything the launcher keeps; a database of your own is not touched."""
    if not is_confirmed:
        if not sys.stdin.isatty():
            raise LauncherError("reset deletes the private database; say so with --yes.")
        if input(f"Delete the private database and secrets of {state.checkout}? Type yes: ").strip() != "yes":
            say("nothing deleted")
            return 1
    run_down(state)
    state.delete()
    say("deleted: the private database, secrets and logs")
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="countinghouse",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="./countinghouse COMMAND [options]",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    up = commands.add_parser("up", description="Install, start and serve; Ctrl-C stops everything.")
    up.add_argument("--port", type=int, default=8087, help="port of the site (default 8087)")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1; plain HTTP)")
    up.add_argument("--no-sample", action="store_true", help="no sample data in an empty database")
    up.add_argument(
        "--stripe-sandbox", action="store_true", help="payments through a Stripe of your own, on this machine"
    )
    commands.add_parser("down", description="Stop what runs in this folder.")
    reset = commands.add_parser("reset", description="Stop, then delete the private database, secrets and logs.")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("shell", description="A shell with the environment of the site.")
    return parser


def dispatch(state: State, arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. `manage` and `test` hand their arguments on untouched."""
    if arguments[:1] == ["manage"]:
        return run_manage(state, arguments[1:])
    if arguments[:1] == ["test"]:
        return run_test(state, arguments[1:])
    options = build_parser().parse_args(arguments)
    match options.command:
        case "up":
            chosen = Options(
                host=options.host,
                port=options.port,
                sample=not options.no_sample,
                stripe_sandbox=options.stripe_sandbox,
            )
            return run_up(state, chosen)
        case "down":
            return run_down(state)
        case "reset":
            return run_reset(state, is_confirmed=options.yes)
        case _:
            return run_shell(state)


def main(arguments: Sequence[str]) -> int:
    """Run the launcher; errors become one message that says what to do."""
    checkout = Path(__file__).resolve().parent.parent
    try:
        return dispatch(State(checkout), list(arguments))
    except LauncherError as error:
        warn(str(error))
        return 1
    except Stopped as stop:
        return 128 + stop.number
    except KeyboardInterrupt:
        return 130
