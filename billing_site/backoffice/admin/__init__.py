"""Bases of every admin page, and the pages of the platform itself."""

from django.contrib.admin import site as admin_site

from billing_site.backoffice.admin.approvals import ApprovalAdmin
from billing_site.backoffice.admin.base import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.admin.events import EventAdmin
from billing_site.backoffice.admin.jobs import JobAdmin
from billing_site.backoffice.admin.notices import NoticeAdmin
from billing_site.backoffice.admin.staff import RoleAdmin, StaffAdmin
from billing_site.backoffice.admin.work_items import WorkItemAdmin

__all__ = [
    "ApprovalAdmin",
    "BackOfficeAdmin",
    "EventAdmin",
    "JobAdmin",
    "NoticeAdmin",
    "ReadOnlyInline",
    "RoleAdmin",
    "StaffAdmin",
    "WorkItemAdmin",
    "admin_site",
]
