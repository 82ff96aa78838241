"""The Celery application. Started with `celery -A billing_site.celery worker` and, apart from it, `beat`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")

app = Celery("countinghouse")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["billing_site.platform", "accounts", "catalog", "metering", "invoicing"])


@app.on_after_configure.connect
def make_filesystem_broker_folders(sender: Celery, **_: object) -> None:
    """kombu's filesystem transport does not create its folders."""
    options = sender.conf.broker_transport_options or {}
    for option in ("data_folder_in", "data_folder_out", "control_folder"):
        if folder := options.get(option):
            Path(folder).mkdir(parents=True, exist_ok=True)


def send_job(name: str, arguments: dict[str, Any]) -> None:
    """Hand one job to the broker; the caller (`kernel.jobs`) decides what a failure means."""
    app.send_task(name, kwargs=arguments, retry=False, ignore_result=True)
