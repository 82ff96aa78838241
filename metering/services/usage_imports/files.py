"""A usage file as it lies in the database: pieces in order, read as one stream."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, Literal, cast

from metering.models import UsageImport, UsageImportChunk

CHUNK_BYTES: Final = 1024 * 1024


class StoredUsageFile:
    """The file of an import, under the name it came with."""

    def __init__(self, usage_import: UsageImport) -> None:
        self.name = usage_import.file_name
        self.suffix = f".{usage_import.file_format}"
        self._import_id = usage_import.pk

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Return the content from its beginning. One query per piece."""
        return cast(BinaryIO, io.BufferedReader(_Pieces(self._list_pieces()), CHUNK_BYTES))

    def _list_pieces(self) -> Iterator[bytes]:
        number = 0
        while True:
            found = UsageImportChunk.objects.filter(usage_import_id=self._import_id, number=number)
            content = found.values_list("content", flat=True).first()
            if content is None:
                return
            yield bytes(content)
            number += 1


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(cast(bytearray, buffer))
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        size = min(len(self._rest), len(target))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Intake:
    """Stores a file piece by piece, and knows its size and hash in the end."""

    def __init__(self, usage_import: UsageImport) -> None:
        self._import = usage_import
        self._hash = hashlib.sha256()
        self._number = 0
        self.size = 0

    @property
    def digest(self) -> str:
        """The SHA-256 of what was stored, in hexadecimal."""
        return self._hash.hexdigest()

    def store(self, parts: Iterable[bytes], *, maximum: int) -> bool:
        """Store the parts, in pieces of equal size; False as soon as there are more than `maximum` bytes."""
        waiting = bytearray()
        for part in parts:
            self.size += len(part)
            if self.size > maximum:
                return False
            self._hash.update(part)
            waiting += part
            while len(waiting) >= CHUNK_BYTES:
                self._write(bytes(waiting[:CHUNK_BYTES]))
                del waiting[:CHUNK_BYTES]
        if waiting:
            self._write(bytes(waiting))
        return True

    def _write(self, content: bytes) -> None:
        UsageImportChunk.objects.create(usage_import=self._import, number=self._number, content=content)
        self._number += 1
