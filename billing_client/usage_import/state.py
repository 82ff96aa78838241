"""
How far an import came, so that an interrupted one goes on where it stopped.

One small file per import in the data folder, written after each acknowledged batch and removed at the end. Losing it
costs nothing but time: the service knows every event's key.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """Events acknowledged so far, and what became of them."""

    sent: int = 0
    created: int = 0
    duplicates: int = 0


class StateFile:
    """The progress of one file, account, mapping and service."""

    def __init__(self, folder: Path, *, digest: str, account: str, mapping: str, api_url: str) -> None:
        identity = json.dumps([digest, account.strip().lower(), mapping, api_url])
        self.path = folder / "imports" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"

    def load(self) -> Progress:
        """Return the stored progress; nothing, where there is none or it cannot be read."""
        try:
            values = json.loads(self.path.read_text())
            progress = Progress(int(values["sent"]), int(values["created"]), int(values["duplicates"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Progress()
        return progress if progress.sent >= 0 else Progress()

    def save(self, progress: Progress) -> None:
        """Store the progress whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(asdict(progress)))
        temporary.replace(self.path)

    def remove(self) -> None:
        """Forget the progress."""
        self.path.unlink(missing_ok=True)
