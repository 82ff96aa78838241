"""billing operator usage …"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from billing_client.cli.failures import CliError, misuse
from billing_client.cli.registry import make_app
from billing_client.cli.session import Session
from billing_client.http import BillingClient

app = make_app()

PATH: Final = "/api/internal/usage-events"
MAX_PAGE_SIZE: Final = 10_000
_BLOCK: Final = 65_536


@app.command("collect")
def collect(
    context: typer.Context,
    *,
    before: Annotated[str, typer.Option(help="Only events before this time; default: now.")] = "",
    page_size: Annotated[int, typer.Option(help="Events in one page.", min=1, max=MAX_PAGE_SIZE)] = 1000,
    delete: Annotated[
        bool, typer.Option("--delete", help="Drop each page from the service once the file is synced to disk.")
    ] = False,
) -> None:
    """Collect raw usage events as JSON lines.

    With --delete pages are added to the file that --output names, each on disk before it is dropped; should the command
    be stopped, run it again: an event that is in the file twice has the same id. Without --delete the file is written
    anew, and without --output the events go to stdout.
    """
    session = Session.of(context)
    if session.options.format_given and session.options.format != "json":
        raise misuse("events are written as JSON lines; there is no other form")
    file = session.options.output
    if delete and file is None:
        raise misuse("--delete needs --output: events are dropped only when they are in a file")
    scopes = ("usage:read", "usage:delete") if delete else ("usage:read",)
    with session.connect(*scopes, caller="operator") as client:
        feed = _Feed(client, before=before, page_size=page_size)
        if delete and file is not None:
            with _appending(file, session.output.warn) as write:
                count = _move(feed, write)
        elif file is not None:
            count = _copy_to_file(feed, file)
        else:
            count = sum(_print(session, items) for items in feed.read_all())
    session.output.say(f"{count} events collected" + (f", in {file}" if file is not None else ""))


@app.callback()
def _group() -> None:
    """Keeps this a group although it holds one command."""


class _Feed:
    """The feed as it stands before one time."""

    def __init__(self, client: BillingClient, *, before: str, page_size: int) -> None:
        self._client = client
        self._before = before
        self._page_size = page_size

    def read(self, page: int) -> tuple[list[Any], bool]:
        """Return the events of a page and whether more follow; the first answer fixes the time."""
        answer = self._client.request("GET", PATH, params=self._params(page))
        # Not `answer.data`: a fraction is to be written as it came.
        body = json.loads(answer.content)
        self._before = body["before"]
        return list(body["items"]), bool(body["has_more"])

    def read_all(self) -> Iterator[list[Any]]:
        """Yield page after page."""
        page, has_more = 0, True
        while has_more:
            page += 1
            items, has_more = self.read(page)
            yield items

    def drop_first(self, expected: int) -> None:
        """Drop page 1. :raises CliError: when that were not the events that were read."""
        # A repeat would drop the next page, unread: it is sent once.
        answer = self._client.request("DELETE", PATH, params=self._params(1))
        deleted = answer.data["deleted"]
        if deleted != expected:
            raise CliError(
                f"{expected} events were read and {deleted} dropped",
                hint="one collector at a time: another one is at work on this feed",
            )

    def _params(self, page: int) -> dict[str, str | int | bool | None]:
        return {"before": self._before or None, "page": page, "page_size": self._page_size}


def _move(feed: _Feed, write: Callable[[list[Any]], None]) -> int:
    """Take page 1 until it is empty: read, write, drop."""
    count = 0
    while items := feed.read(1)[0]:
        write(items)
        feed.drop_first(len(items))
        count += len(items)
    return count


def _copy_to_file(feed: _Feed, path: Path) -> int:
    """Write all events to a file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                for items in feed.read_all():
                    stream.write(_encode(items))
                    count += len(items)
                _sync(stream)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror or error}") from error
    return count


@contextmanager
def _appending(path: Path, warn: Callable[[str], None]) -> Iterator[Callable[[list[Any]], None]]:
    """Yield what adds events to a file: when it returns they are on disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        stream = path.open("ab+")
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror or error}") from error

    def write(items: list[Any]) -> None:
        try:
            stream.write(_encode(items))
            _sync(stream)
        except OSError as error:
            raise CliError(
                f"cannot write {path}: {error.strerror or error}", hint="nothing unwritten was dropped"
            ) from error

    with stream:
        if cut := _cut_torn_line(stream):
            warn(f"the last line of {path} was not whole ({cut} bytes); it is taken out and collected again")
        if is_new:
            _sync_folder(path.parent)
        yield write


def _cut_torn_line(stream: BinaryIO) -> int:
    """Take out what follows the last line break, which a stopped run left; answers how many bytes."""
    end = size = stream.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        stream.seek(start)
        block = stream.read(end - start)
        if (found := block.rfind(b"\n")) >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        stream.truncate(end)
    return size - end


def _print(session: Session, items: list[Any]) -> int:
    session.output.write_text(_encode(items).decode())
    return len(items)


def _encode(items: list[Any]) -> bytes:
    return b"".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for item in items)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    """Make the name of a new file last, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
