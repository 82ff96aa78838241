"""How a command fails: one line `Error:`, one line `Hint:`, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billing_client.errors import (
    AuthError,
    BillingError,
    ConnectionFailed,
    Finding,
    InvalidState,
    PaymentFailed,
    ProviderUnavailable,
)

FAILURE = 1
MISUSE = 2


class CliError(Exception):
    """A failure with its message, what to do about it, lines of detail between the two, and the exit code."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = FAILURE, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.details = tuple(details)


def misuse(message: str, *, hint: str = "") -> CliError:
    """Return the error of a command that was called wrongly: exit code 2."""
    return CliError(message, hint=hint, exit_code=MISUSE)


def describe_findings(findings: Sequence[Finding]) -> list[str]:
    """Return one line per finding: where it is, then what is wrong."""
    return [f"{finding.pointer or '/'}: {finding.detail}" for finding in findings]


def explain_refusal(error: BillingError, scopes: Sequence[str]) -> CliError:
    """Return what a refusal of the service means to the person at the keyboard; `scopes` are those of the command."""
    message, hint = error.detail, ""
    match error:
        case ConnectionFailed():
            hint = "billing doctor; the address comes from --api-url or BILLING_API_URL"
        case AuthError(status=401):
            message = f"the token was not accepted: {error.detail}"
            hint = f"get a new token with {_list_scopes(scopes)}"
        case AuthError(code="audience_rejected"):
            hint = f"another kind of token is needed here, with {_list_scopes(scopes)}"
        case AuthError():
            required = error.members.get("required_scope")
            names = (str(required),) if required else scopes
            hint = f"this needs {_list_scopes(names)}" if error.code == "scope_missing" or required else ""
        case ProviderUnavailable(code="provider_unavailable"):
            message = f"payment provider error: {error.detail}"
            hint = "check key, mode (test or live) and permissions"
        case ProviderUnavailable():
            hint = "the service is not ready; try again, or see billing doctor"
        case PaymentFailed():
            message = str(error.members.get("decline_reason") or error.detail)
        case InvalidState() if error.members.get("current_status"):
            message = f"{error.detail.rstrip('.')} (status: {error.members['current_status']})"
        case _ if error.code == "account_required":
            message, hint = "no account found", "set BILLING_ACCOUNT_ID, pass --account, or log in"
    details = describe_findings(error.findings)
    if len(details) == 1 and error.findings[0].detail in message:
        details = []  # said already
        if pointer := error.findings[0].pointer.strip("/"):
            message = f"{pointer}: {message}"
    return CliError(message, hint=hint, details=details)


def explain_misuse(error: Any, valid: Sequence[str]) -> CliError:
    """Return what a refusal of the argument parser means. `valid` are the commands or options that exist."""
    kind = type(error).__name__
    param = getattr(error, "param", None)
    if kind == "NoSuchOption":
        return unknown(str(error.option_name), valid)
    if kind == "MissingParameter" and param is not None:
        return misuse(f"{_name(param)} is required", hint=_usage(error))
    if kind == "BadOptionUsage":
        return misuse(f"{error.option_name} needs a value" if "argument" in error.message else error.message)
    if kind == "BadParameter" and param is not None:
        return misuse(f"{_name(param)}: {error.message}")
    return misuse(str(error.format_message()).rstrip("."), hint=_usage(error))


def unknown(what: str, valid: Sequence[str]) -> CliError:
    """Return the error for a command or option that does not exist, with the valid ones."""
    return misuse(f"unknown command or option: {what}", hint=f"valid here: {', '.join(valid)}" if valid else "")


def _name(param: Any) -> str:
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.name)


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else ""


def _list_scopes(scopes: Sequence[str]) -> str:
    return f"scope {' '.join(scopes)}" if scopes else "the scopes of this command"
