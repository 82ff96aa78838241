"""
Imports of usage files: hand in, follow, call off.

Additions to the contract: a file of many accounts, or one too large for requests, has no other way in that survives
the sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Final

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.queries.access import resolve_account
from billing_site.api.dialect import CamelCaseParser, ExactJSONParser
from billing_site.api.pagination import CursorPages
from billing_site.api.params import account_reference, query_serializer
from billing_site.api.permissions import Scopes, internal
from billing_site.api.schema import list_of
from billing_site.api.views import BillingViewSet
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError, NotFound
from metering.api.serializers.usage_imports import (
    UsageImportDetailSerializer,
    UsageImportErrorSerializer,
    UsageImportParameters,
    UsageImportQuery,
    UsageImportSerializer,
)
from metering.models import UsageImport
from metering.queries.usage_imports import list_imports
from metering.services.usage_imports import (
    AccountNeeded,
    NewUsageImport,
    UsageFileInvalid,
    UsageFileRepeated,
    UsageImportFinished,
    cancel_import,
    start_import,
)

CSV: Final = "text/csv"
JSON_LINES: Final = "application/x-ndjson"
_NAMES: Final = {CSV: "usage.csv", JSON_LINES: "usage.jsonl"}
_READ: Final = internal("billing:read")
_WRITE: Final = internal("billing:usage:write")


@dataclass(frozen=True, slots=True)
class SentFile:
    """A body that is a file. As a text it is its hash: what tells repeats of a keyed request apart from others."""

    content: bytes
    name: str

    def __str__(self) -> str:
        return f"{self.name} {hashlib.sha256(self.content).hexdigest()}"


class CsvFileParser(BaseParser):
    """Hands the body over as a file."""

    media_type = CSV

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return SentFile(stream.read(), _NAMES[self.media_type])


class JsonLinesFileParser(CsvFileParser):
    media_type = JSON_LINES


class ErrorPages(CursorPages):
    """In the order of the file."""

    newest_first = False
    max_limit = 1000


class UsageImportViewSet(BillingViewSet):
    """Files of usage events."""

    queryset = UsageImport.objects.none()
    serializer_class = UsageImportSerializer
    parser_classes = [CsvFileParser, JsonLinesFileParser]
    scopes: ClassVar[dict[str, Scopes]] = {
        "create": _WRITE,
        "cancel": _WRITE,
        "list": _READ,
        "retrieve": _READ,
        "errors": _READ,
    }
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {
        "create": [UsageFileInvalid, UsageFileRepeated, AccountNeeded, NotFound],
        "cancel": [UsageImportFinished, NotFound],
        "list": [],
        "retrieve": [NotFound],
        "errors": [NotFound],
    }
    operation_ids = {
        "create": "usage_import_create",
        "cancel": "usage_import_cancel",
        "list": "usage_import_list",
        "retrieve": "usage_import_get",
        "errors": "usage_import_errors",
    }

    @classmethod
    def get_body_limit(cls) -> int:
        """Return how large a file may be."""
        return int(settings.BILLING_USAGE_IMPORT_MAX_BYTES)

    def get_parsers(self) -> list[BaseParser]:
        """Only handing in takes a file. The action itself is not known yet where parsers are chosen."""
        if "cancel" in (self.action_map or {}).values():
            return [ExactJSONParser(), CamelCaseParser()]
        return [parser() for parser in self.parser_classes]

    @extend_schema(
        parameters=[UsageImportParameters],
        request={CSV: OpenApiTypes.BINARY, JSON_LINES: OpenApiTypes.BINARY},
        responses={201: UsageImportDetailSerializer},
    )
    def create(self, request: Request) -> Response:
        """
        Take in a file of usage events, as the body; check and write it in the background.

        Columns: service and quantity, and where they are wanted timestamp, account, unit, resource_id, actor_id,
        cost_center, metadata and dimensions (JSON objects), idempotency_key. Nothing is written unless every line is
        right. A line without a key gets one of the file's content and its number, so the same file counts once.
        """
        query = query_serializer(UsageImportParameters, request)
        reference = account_reference(request)
        sent: object = request.data  # REST framework calls no parser for an empty body
        file = sent if isinstance(sent, SentFile) else SentFile(b"", _NAMES[CSV])
        new = NewUsageImport(
            file_name=query.get("file_name") or file.name,
            account=resolve_account(self.principal, reference, write=True) if reference else None,
            org_id=self.principal.org or "",
            check_only=query["check_only"],
            reason=query.get("reason") or "",
        )
        usage_import = start_import(new=new, content=[file.content], at=clock.now(), actor=self.actor)
        return Response(UsageImportDetailSerializer(usage_import).data, status=201)

    @extend_schema(parameters=[UsageImportQuery], responses=list_of(UsageImportSerializer))
    def list(self, request: Request) -> Response:
        """List imports, newest first, with how far each is."""
        query = query_serializer(UsageImportQuery, request)
        found = list_imports(org_id=self.principal.org)
        return self.page(found.filter(**query), UsageImportSerializer)

    @extend_schema(responses=UsageImportDetailSerializer)
    def retrieve(self, request: Request, import_id: str) -> Response:
        """Show one import and how far it is."""
        return Response(UsageImportDetailSerializer(self._get(import_id)).data)

    @extend_schema(request=None, responses=UsageImportDetailSerializer)
    def cancel(self, request: Request, import_id: str) -> Response:
        """Stop an import behind the batch that is being written. What was written stays written."""
        cancel_import(import_id=self._get(import_id).pk, at=clock.now(), actor=self.actor)
        return Response(UsageImportDetailSerializer(self._get(import_id)).data)

    @extend_schema(responses=list_of(UsageImportErrorSerializer))
    def errors(self, request: Request, import_id: str) -> Response:
        """List what is wrong with the lines of an import, in the order of the file; of the first 1,000 wrong lines."""
        paginator = ErrorPages()
        rows: Any = paginator.paginate_queryset(self._get(import_id).errors.all(), request, self)
        return paginator.get_paginated_response(UsageImportErrorSerializer(rows, many=True).data)

    def _get(self, reference: str) -> UsageImport:
        key = UsageImport.parse_id(reference)
        found = None if key is None else list_imports(org_id=self.principal.org).filter(pk=key).first()
        if found is None:
            raise NotFound("usage_import")
        return found
