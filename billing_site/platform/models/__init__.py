"""Tables of the platform."""

from billing_site.platform.models.approvals import Approval, ApprovalStatus
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.call_counts import CallCount
from billing_site.platform.models.events import PLATFORM_CHAIN, Event, EventChain
from billing_site.platform.models.idempotency import IdempotencyKey
from billing_site.platform.models.keyed_requests import KeyedRequest
from billing_site.platform.models.notices import Notice, NoticeChannel, NoticeStatus
from billing_site.platform.models.triggers import StrictTrigger, append_only_triggers
from billing_site.platform.models.work_items import WorkItem, WorkItemSeverity, WorkItemStatus

__all__ = [
    "PLATFORM_CHAIN",
    "Approval",
    "ApprovalStatus",
    "CallCount",
    "Event",
    "EventChain",
    "IdempotencyKey",
    "Identified",
    "KeyedRequest",
    "Notice",
    "NoticeChannel",
    "NoticeStatus",
    "StrictTrigger",
    "Timestamped",
    "WorkItem",
    "WorkItemSeverity",
    "WorkItemStatus",
    "append_only_triggers",
]
