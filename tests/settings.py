"""
The settings tests and the type checker run with: those of the product under a fixed environment.

Where the environment already says something (a database, a Redis), it is kept. Processes that tests start run with
the product's own settings; `tests.support.processes` gives them their environment.
"""

from __future__ import annotations

import os

os.environ["BILLING_DEBUG"] = "true"
os.environ["BILLING_TESTING"] = "true"
os.environ["BILLING_LIVEMODE"] = "false"
os.environ["BILLING_JWT_KEYS"] = ""
os.environ["BILLING_JWT_SECRET"] = "a-secret-of-the-tests-with-more-than-32-bytes"
os.environ["BILLING_JWT_AUDIENCE_PUBLIC"] = "billing-api"
os.environ["BILLING_JWT_AUDIENCE_INTERNAL"] = "billing-internal"
os.environ.setdefault("BILLING_LOG_LEVEL", "warning")

from billing_site.settings import *  # noqa: F403
from billing_site.settings import INSTALLED_APPS, MIDDLEWARE

# As in production: DEBUG would keep every query and show error pages. It is on above only to need no secret key.
DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
JOBS_SENDER = "tests.support.jobs.record_job"
WHITENOISE_AUTOREFRESH = True  # look static files up when asked; nothing is collected here
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; nothing here is worth guessing

# django-zeal fails any request of a test (API and admin) that runs one query per row.
INSTALLED_APPS = [*INSTALLED_APPS, "zeal"]
MIDDLEWARE = ["zeal.middleware.zeal_middleware", *MIDDLEWARE]
ZEAL_SHOW_ALL_CALLERS = True
ZEAL_ALLOWLIST = [
    # A run over all organizations is one run after the other, each with its own transactions.
    {"model": "invoicing.BillingRun", "field": None},
    # A form gets its own row, and the one it is put below.
    {"model": "accounts.CostCenter", "field": None},
]
