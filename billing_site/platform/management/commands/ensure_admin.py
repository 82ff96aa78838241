"""Create or update the first administrator, and for a trial a second person who approves what the first asks for."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Make sure the administrator named by BILLING_ADMIN_USER exists, with the password in BILLING_ADMIN_PASSWORD."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--approver", default="", help="also make a finance lead of this name, with the same password"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        username, password = os.environ.get("BILLING_ADMIN_USER", ""), os.environ.get("BILLING_ADMIN_PASSWORD", "")
        if not username or not password:
            raise CommandError("Set BILLING_ADMIN_USER and BILLING_ADMIN_PASSWORD.")
        created = self.ensure_user(username, password, is_superuser=True)
        if options["approver"]:
            self.ensure_user(options["approver"], password, is_superuser=False)
        self.stdout.write(f"Administrator {username} {'created' if created else 'is up to date'}.")

    @staticmethod
    def ensure_user(username: str, password: str, *, is_superuser: bool) -> bool:
        """Make sure the person can sign in with this password, and tell whether they are new."""
        user, created = get_user_model().objects.get_or_create(username=username)
        user.is_staff, user.is_active, user.is_superuser = True, True, is_superuser
        if not user.check_password(password):  # a new hash would end the person's sessions
            user.set_password(password)
        user.save()
        if not is_superuser:
            user.groups.add(Group.objects.get(name="finance_lead"))
        return created
