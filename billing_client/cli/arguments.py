"""
The command line before any parser sees it.

Global options may stand anywhere and are taken out here; secrets are refused; names of groups without a command get
their default. What remains is handed to typer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import urlsplit

from billing_client.cli.failures import misuse, unknown
from billing_client.environment import DEFAULT_API_URL, SECRET_PREFIXES, Environment, parse_duration

OutputFormat = Literal["table", "json", "csv"]
FORMATS: Final[tuple[str, ...]] = get_args(OutputFormat)

_WITH_VALUE: Final = ("--api-url", "--token-file", "--account", "--format", "--output", "--timeout")
_FLAGS: Final = ("--quiet", "--verbose", "--no-color", "--version")
GLOBAL_NAMES: Final = (*_WITH_VALUE, *_FLAGS)
_SECRET_OPTIONS: Final = ("--token", "--api-key", "--secret", "--password")
SECRET_REFUSED: Final = "secrets are not accepted on the command line; use --token-file or an environment variable"  # noqa: S105


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What every command knows: the options that may stand anywhere, completed from the environment."""

    api_url: str = DEFAULT_API_URL
    token_file: Path | None = None
    account: str | None = None
    account_given: bool = False
    """Whether the account was named on the command line, not in the environment."""
    format: OutputFormat = "table"
    format_given: bool = False
    output: Path | None = None
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    timeout: float = 30.0
    version: bool = False


def split_arguments(argv: Sequence[str], environment: Environment) -> tuple[GlobalOptions, list[str]]:
    """
    Return the global options and the remaining words.

    :raises CliError: for a secret, a missing or a wrong value.
    """
    refuse_secrets(argv)
    values: dict[str, str] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, has_value, value = word.partition("=")
        if word == "--":
            rest.extend([word, *words])
        elif name in _WITH_VALUE:
            if not has_value:
                value = next(words, "")
            if not value or (not has_value and value.startswith("--")):
                raise misuse(f"{name} needs a value")
            values[name] = value
        elif name in _FLAGS:
            if has_value:
                raise misuse(f"{name} takes no value")
            values[name] = "yes"
        else:
            rest.append(word)
    return _complete(values, environment), rest


def _complete(values: Mapping[str, str], environment: Environment) -> GlobalOptions:
    form = values.get("--format", "table").lower()
    if form not in FORMATS:
        raise misuse(f"--format: {form} is none of {', '.join(FORMATS)}")
    options = GlobalOptions(
        api_url=_read_url(values.get("--api-url") or environment.get("BILLING_API_URL") or DEFAULT_API_URL),
        account=(values.get("--account") or environment.get("BILLING_ACCOUNT_ID") or "").strip() or None,
        account_given="--account" in values,
        format=cast(OutputFormat, form),
        format_given="--format" in values,
        quiet="--quiet" in values,
        verbose="--verbose" in values or (environment.get("BILLING_LOG_LEVEL") or "").lower() == "debug",
        color="--no-color" not in values and not environment.get("NO_COLOR"),
        version="--version" in values,
    )
    if file := values.get("--token-file"):
        options = replace(options, token_file=Path(file).expanduser())
    if file := values.get("--output"):
        options = replace(options, output=Path(file).expanduser())
    timeout = values.get("--timeout") or environment.get("BILLING_TIMEOUT")
    if timeout:
        try:
            options = replace(options, timeout=parse_duration(timeout))
        except ValueError as error:
            raise misuse(f"--timeout: {error}") from error
    return options


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise misuse(f"--api-url: {text} is not an address such as {DEFAULT_API_URL}")
    return text.rstrip("/").removesuffix("/api")


def refuse_secrets(argv: Sequence[str]) -> None:
    """
    Refuse tokens and keys on the command line, where other users and the shell's history see them.

    :raises CliError: exit code 2; the value is never repeated.
    """
    for word in argv:
        name, _, value = word.partition("=")
        if name.startswith("--"):
            if name in _SECRET_OPTIONS or _is_secret(value) or _has_password(value):
                raise misuse(SECRET_REFUSED)
        elif _is_secret(word) or _has_password(word):
            raise misuse(SECRET_REFUSED)


def _is_secret(text: str) -> bool:
    return text.strip().startswith(SECRET_PREFIXES)


def _has_password(text: str) -> bool:
    if "://" not in text or "@" not in text:
        return False
    try:
        return bool(urlsplit(text).password)
    except ValueError:
        return False


def complete_command(
    words: Sequence[str],
    commands: Mapping[str, object],
    *,
    path: tuple[str, ...] = (),
    defaults: Mapping[tuple[str, ...], str],
    aliases: Mapping[tuple[str, ...], tuple[str, ...]],
) -> list[str]:
    """
    Return the words with the command spelt out: aliases resolved, defaults filled in, `--help` for a bare group.

    `commands` maps names to commands; those with a `commands` mapping of their own are groups.
    :raises CliError: exit code 2 for a command that does not exist, naming those that do.
    """
    names = [name for name, command in commands.items() if not getattr(command, "hidden", False)]
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help"}):
        if (default := defaults.get(path)) is not None:
            return [default, *words]
        if not words:
            return ["--help"]
        raise unknown(words[0].partition("=")[0], [*names, *(() if path else GLOBAL_NAMES)])
    if words[0] in {"-h", "--help"}:
        return ["--help"]
    name, rest = words[0], words[1:]
    if (other := aliases.get((*path, name))) is not None:
        return complete_command([*other, *rest], commands, path=path, defaults=defaults, aliases=aliases)
    if name not in commands:
        raise unknown(name, names)
    below = getattr(commands[name], "commands", None)
    if below is None:
        return [name, *rest]
    return [name, *complete_command(rest, below, path=(*path, name), defaults=defaults, aliases=aliases)]
