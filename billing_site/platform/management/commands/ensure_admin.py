"""Create or update the first administrator."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Make sure the administrator named by BILLING_ADMIN_USER exists, with the password in BILLING_ADMIN_PASSWORD."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        username, password = os.environ.get("BILLING_ADMIN_USER", ""), os.environ.get("BILLING_ADMIN_PASSWORD", "")
        if not username or not password:
            raise CommandError("Set BILLING_ADMIN_USER and BILLING_ADMIN_PASSWORD.")
        user, created = get_user_model().objects.get_or_create(username=username)
        user.is_staff = user.is_superuser = user.is_active = True
        if not user.check_password(password):  # a new hash would end the person's sessions
            user.set_password(password)
        user.save()
        self.stdout.write(f"Administrator {username} {'created' if created else 'is up to date'}.")
