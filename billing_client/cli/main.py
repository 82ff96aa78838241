"""The `billing` command: arguments in, exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from billing_client import __version__
from billing_client.cli.arguments import GlobalOptions, complete_command, split_arguments
from billing_client.cli.failures import CliError, explain_misuse, explain_refusal
from billing_client.cli.output import Output
from billing_client.environment import Environment
from billing_client.errors import BillingError

INTERRUPTED = 130


def main() -> None:
    """Run the command of this process and leave with its exit code."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone, `billing … | head` for one. Python must not complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command line; return 0 for success, 1 for failure, 2 for misuse. Errors are written to stderr."""
    environment = Environment.of_process()
    try:
        options, words = split_arguments(argv, environment)
    except CliError as error:
        Output(GlobalOptions()).fail(error)
        return error.exit_code
    if options.version:
        print(f"billing {__version__}")
        return 0
    return _run_command(options, words, environment)


def _run_command(options: GlobalOptions, words: Sequence[str], environment: Environment) -> int:
    import typer

    from billing_client.cli.registry import ALIASES, DEFAULTS, build_root
    from billing_client.cli.session import make_session

    session = make_session(options, environment)
    command = typer.main.get_command(build_root(words[0] if words else None))
    extra: tuple[str, ...] = ()
    try:
        complete = complete_command(words, getattr(command, "commands", {}), defaults=DEFAULTS, aliases=ALIASES)
        code = command.main(args=complete, prog_name="billing", standalone_mode=False, obj=session)
        return code if isinstance(code, int) else 0
    except CliError as error:
        failure = error
    except BillingError as error:
        failure = explain_refusal(error, session.scopes)
        if options.verbose:
            facts = {"code": error.code, "status": error.status or "", "request": error.request_id}
            extra = (", ".join(f"{name} {value}" for name, value in facts.items() if value),)
    except typer.TyperException as error:
        failure = explain_misuse(error, _list_options(error))
    except (KeyboardInterrupt, typer.Abort):
        failure = CliError("stopped", exit_code=INTERRUPTED)
    session.output.fail(failure, *filter(None, extra))
    return failure.exit_code


def _list_options(error: Exception) -> list[str]:
    """The options that the command knows which refused one."""
    context = getattr(error, "ctx", None)
    if context is None:
        return []
    return sorted(
        option
        for param in context.command.params
        if param.param_type_name == "option" and not param.hidden
        for option in param.opts
        if option.startswith("--")
    )


if __name__ == "__main__":
    main()
