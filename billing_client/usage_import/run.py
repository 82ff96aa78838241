"""The import itself: check the whole file, then send it in batches."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from billing_client.errors import BillingError
from billing_client.http import BillingClient, account_path
from billing_client.usage_import.events import Event, EventReader
from billing_client.usage_import.mapping import Mapping
from billing_client.usage_import.rows import FileInvalid, check_suffix
from billing_client.usage_import.state import Progress, StateFile

BATCH_SIZE: Final = 1000


class Listener(Protocol):
    """Told how far the import is."""

    def begin(self, phase: str, total: int) -> None:
        """A phase begins: `check` counts bytes, `send` counts events."""

    def advance(self, done: int) -> None:
        """So much of the phase's total is done."""

    def say(self, message: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import came to. `resumed_after` events had been sent by an earlier, interrupted run."""

    rows: int
    events: int
    sent: int
    created: int
    duplicates: int
    resumed_after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    """By what we notice that a file changes under our hands."""

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> _Fingerprint:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


class UsageImport:
    """The import of one file."""

    def __init__(
        self,
        path: Path,
        mappings: Sequence[Mapping],
        *,
        listener: Listener,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        check_suffix(path)
        self._path = path
        self._mappings = mappings
        self._listener = listener
        self._batch_size = batch_size
        self._seen = _Fingerprint.of(path)
        self._reader = EventReader(path, mappings, _hash_file(path))
        self._rows = 0
        self._events = 0

    def check(self) -> None:
        """
        Read the whole file and check every value; nothing is sent.

        :raises FileInvalid: at the first thing that is wrong.
        """
        self._reader.check_columns()
        self._listener.begin("check", 0)
        last = 0
        for event in self._reader.read():
            self._events += 1
            if event.line != last:
                self._rows, last = self._rows + 1, event.line
                if self._rows % self._batch_size == 0:
                    self._listener.advance(self._rows)
        if self._rows == 0:
            raise FileInvalid(self._path, "holds no rows")

    def describe(self) -> ImportResult:
        """Return what `check` has read, with nothing sent."""
        return ImportResult(self._rows, self._events, 0, 0, 0, 0, 0.0)

    def send(self, client: BillingClient, *, account: str, state_folder: Path, restart: bool = False) -> ImportResult:
        """
        Send to `account` what `check` has read, going on where an interrupted import stopped, unless `restart`.

        :raises BillingError: if the service refuses; what was acknowledged before is remembered.
        :raises FileInvalid: if it refuses a certain line, or the file has changed since it was checked.
        """
        started = time.monotonic()
        state = StateFile(
            state_folder,
            digest=self._reader.digest,
            account=account,
            mapping=";".join(mapping.describe() for mapping in self._mappings),
            api_url=client.api_url,
        )
        progress = Progress() if restart else state.load()
        if progress.sent and (unknown := self._send_last_again(client, account, progress)):
            self._listener.say("The service does not know what was sent before; beginning anew.")
            # What this created comes back as duplicates when its turn comes; it was created here all the same.
            progress = Progress(0, unknown, -unknown)
        resumed_after = progress.sent
        if resumed_after:
            self._listener.say(f"Going on after {resumed_after:,} events; --restart begins anew.")
        self._listener.begin("send", self._events)
        for batch in self._batches(skip=progress.sent):
            progress = self._post(client, account, batch, progress)
            state.save(progress)
            self._listener.advance(progress.sent)
        state.remove()
        return ImportResult(
            rows=self._rows,
            events=self._events,
            sent=progress.sent - resumed_after,
            created=progress.created,
            duplicates=progress.duplicates,
            resumed_after=resumed_after,
            seconds=time.monotonic() - started,
        )

    def _batches(self, *, skip: int) -> Iterator[list[Event]]:
        if _Fingerprint.of(self._path) != self._seen:
            raise FileInvalid(self._path, "has changed since it was checked; import it again")
        events = islice(self._reader.read(), skip, None)
        while batch := list(islice(events, self._batch_size)):
            yield batch

    def _send_last_again(self, client: BillingClient, account: str, progress: Progress) -> int:
        """
        Return how many events of the last acknowledged batch the service did not know any more.

        None, unless its database is another one by now.
        """
        first = max(0, progress.sent - self._batch_size)
        batch = list(islice(self._reader.read(), first, progress.sent))
        return self._post(client, account, batch, Progress()).created

    def _post(self, client: BillingClient, account: str, batch: Sequence[Event], before: Progress) -> Progress:
        try:
            # Each event carries its own key, so sending the batch twice counts it once.
            answer = client.request(
                "POST",
                account_path(account, "usage/batch"),
                json_body={"events": [event.body for event in batch]},
                repeatable=True,
            ).data
        except BillingError as error:
            if (refusal := self._locate(error, batch)) is not None:
                raise refusal from error
            raise
        created, duplicates = int(answer["created"]), int(answer["duplicates"])
        return Progress(before.sent + len(batch), before.created + created, before.duplicates + duplicates)

    def _locate(self, error: BillingError, batch: Sequence[Event]) -> FileInvalid | None:
        """Return the refusal of one event as that of its line."""
        for finding in error.findings:
            parts = [part for part in finding.pointer.split("/") if part]
            index = next((int(part) for part in parts if part.isascii() and part.isdigit()), None)
            if index is not None and index < len(batch):
                return FileInvalid(self._path, finding.detail, line=batch[index].line)
        return None


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
