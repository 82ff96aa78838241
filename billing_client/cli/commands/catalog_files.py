"""Catalog documents in files: read, and checked before anything leaves the machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from billing_client.cli.failures import CliError, describe_findings
from billing_client.errors import Finding


def read_catalog(file: str) -> str:
    """
    Return the text of a document; `-` reads stdin. What looks like a secret is refused here.

    :raises CliError: if it cannot be read, is no JSON, or has findings: all of them.
    """
    from billing_client.catalog_check import NotJson, check_catalog

    text = _read(file)
    try:
        findings = check_catalog(text)
    except NotJson as error:
        raise CliError(f"the catalog is not valid JSON: {error}") from error
    if findings:
        raise refuse_catalog(findings)
    return text


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is not UTF-8 text") from error


def refuse_catalog(findings: Sequence[Finding]) -> CliError:
    """Return the error for the findings of a document, a line each."""
    count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    return CliError(
        f"the catalog was refused, {count}", details=describe_findings(findings), hint="nothing was published"
    )
