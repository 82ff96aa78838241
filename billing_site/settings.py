"""
Settings of Countinghouse: one file, driven by the environment.

Every variable is listed in `.env.example` with its meaning. Production is the default: without
`BILLING_DEBUG=true` the site refuses to start without a secret key and host names.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from billing_site import schedules
from billing_site.environment import env, first_env
from billing_site.payment_settings import *  # noqa: F403

BASE_DIR = Path(__file__).resolve().parent.parent


def _read_instant(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not a time such as 2026-12-01T00:00:00Z: {text!r}.") from error
    if moment.tzinfo is None:
        raise ImproperlyConfigured(f"{name} needs an offset, such as 2026-12-01T00:00:00Z.")
    return moment.astimezone(UTC)


# ---- core -----------------------------------------------------------------------------------------------------------
DEBUG = env.bool("BILLING_DEBUG", default=False)
TESTING = env.bool("BILLING_TESTING", default=False)
SECRET_KEY = env.str("BILLING_SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("BILLING_SECRET_KEY is not set; give it 50 or more random characters.")
    SECRET_KEY = "development-only-key-never-used-when-BILLING_DEBUG-is-off"  # noqa: S105
ALLOWED_HOSTS = env.list("BILLING_ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("BILLING_CSRF_TRUSTED_ORIGINS", default=[])
ROOT_URLCONF = "billing_site.urls"
WSGI_APPLICATION = "billing_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
BILLING_DATA_DIR = Path(env.str("BILLING_SERVER_DATA_DIR", default=str(BASE_DIR / ".countinghouse")))

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # styles and templates only; the site is ours
    "unfold.contrib.filters",
    "billing_site.backoffice.apps.BackOfficeAdminConfig",  # our admin site instead of django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
    "django_celery_beat",
    "django_structlog",
    "djstripe",
    "billing_site.platform",
    "billing_site.backoffice",
    "catalog",
    "accounts",
    "metering",
    "invoicing",
]
MIGRATION_MODULES = {"djstripe": "billing_site.djstripe_migrations"}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "billing_site.backoffice.security.ContentSecurityPolicyMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# ---- database -------------------------------------------------------------------------------------------------------
DATABASE_URL = first_env("BILLING_DATABASE_URL", "DATABASE_URL")
if DATABASE_URL:
    _database = env.db_url_config(DATABASE_URL)
else:
    _database = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": env.str("BILLING_DB_HOST", default="localhost"),
        "PORT": env.str("BILLING_DB_PORT", default="5432"),
        "NAME": env.str("BILLING_DB_NAME", default="countinghouse"),
        "USER": env.str("BILLING_DB_USER", default="countinghouse"),
        "PASSWORD": env.str("BILLING_DB_PASSWORD", default=""),
    }
if "postgresql" not in _database["ENGINE"]:
    raise ImproperlyConfigured("Countinghouse needs PostgreSQL 15 or newer; the database URL names another engine.")
_database_options: dict[str, Any] = _database.setdefault("OPTIONS", {})
if env.bool("BILLING_DB_POOL", default=False):
    # Only the web server uses the pool: a forked Celery worker or beat must not inherit its threads.
    _database_options["pool"] = {"min_size": 1, "max_size": env.int("BILLING_DB_POOL_SIZE", default=16), "timeout": 10}
else:
    _database["CONN_MAX_AGE"] = env.int("BILLING_DB_CONN_MAX_AGE", default=60)
    _database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
# Statements that run all the time are prepared once per connection; a pooler that shares connections may not allow it.
BILLING_DB_PREPARE = env.bool("BILLING_DB_PREPARE", default=True)

# ---- time and language ----------------------------------------------------------------------------------------------
TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = ["billing_site.backoffice.formats"]

# ---- sign-in and browser security -----------------------------------------------------------------------------------
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_COOKIE_HTTPONLY = True
# A deployment behind TLS is the default; only BILLING_INSECURE_HTTP (set by the launcher for loopback) turns it off.
_https = not (DEBUG or env.bool("BILLING_INSECURE_HTTP", default=False))
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
SECURE_SSL_REDIRECT = _https and env.bool("BILLING_SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
if env.bool("BILLING_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Bodies larger than this are refused before they are read (usage batches take at most 5 MB).
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 50_000  # the form of a plan with hundreds of tiered prices

# ---- static files ---------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("BILLING_STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
# Static files as they lie in the packages: no collecting, no compression; for one machine, not for production.
_static_from_source = DEBUG or TESTING or env.bool("BILLING_STATIC_FROM_SOURCE", default=False)
WHITENOISE_USE_FINDERS = _static_from_source
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if _static_from_source
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# ---- jobs -----------------------------------------------------------------------------------------------------------
REDIS_URL = first_env("BILLING_REDIS_URL", "REDIS_URL")
# Several installations may share one Redis: each keeps its keys under its own prefix.
REDIS_PREFIX = env.str("BILLING_BROKER_PREFIX", default="")
BROKER_DIR = BILLING_DATA_DIR / "broker"
JOBS_SENDER = "billing_site.celery.send_job"  # kernel.jobs hands jobs to this function after commit
CELERY_BROKER_URL = first_env("BILLING_BROKER_URL", default=REDIS_URL or "filesystem://localhost")
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if CELERY_BROKER_URL.startswith("filesystem://"):
    # In and out are one folder: every process both sends and receives.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "store_processed": False,
    }
elif REDIS_PREFIX:
    CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": REDIS_PREFIX}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True  # outcomes live in our tables; the broker is a doorbell
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = schedules.BEAT_SCHEDULE
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# ---- API ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["billing_site.api.auth.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["billing_site.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "billing_site.api.dialect.CamelCaseRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "billing_site.api.dialect.CamelCaseParser"],
    "DEFAULT_SCHEMA_CLASS": "billing_site.api.schema.BillingSchema",
    "DEFAULT_FILTER_BACKENDS": [],
    "EXCEPTION_HANDLER": "billing_site.api.problems.handle_exception",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNICODE_JSON": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countinghouse",
    "DESCRIPTION": "Billing back office: catalog, accounts, usage, invoices. Money is integer minor units.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    # Enums stay inline: components named after their fields collide (`status` means something else on every noun).
    "POSTPROCESSING_HOOKS": ["billing_site.api.schema.add_security_schemes"],
}

# ---- tokens ---------------------------------------------------------------------------------------------------------
BILLING_JWT_AUDIENCE_PUBLIC = env.str("BILLING_JWT_AUDIENCE_PUBLIC", default="billing-api")
BILLING_JWT_AUDIENCE_INTERNAL = env.str("BILLING_JWT_AUDIENCE_INTERNAL", default="billing-internal")
BILLING_JWT_KEYS = env.str("BILLING_JWT_KEYS", default="")  # JWKS URL
BILLING_JWT_SECRET = env.str("BILLING_JWT_SECRET", default="")  # HS256; base64:<value> marks an encoded secret

# ---- billing --------------------------------------------------------------------------------------------------------
BILLING_LIVEMODE = env.bool("BILLING_LIVEMODE", default=False)
BILLING_DEFAULT_PLAN = env.str("BILLING_DEFAULT_PLAN", default="free")
BILLING_TRIAL_PERIOD_DAYS = env.int("BILLING_TRIAL_PERIOD_DAYS", default=0)
# ---- usage ----------------------------------------------------------------------------------------------------------
# How long a key of an event is known: a repeat within these days counts once, whatever time it claims to be from.
BILLING_USAGE_LOOKBACK_DAYS = env.int("BILLING_USAGE_LOOKBACK_DAYS", default=35)
# Single events of parallel requests to one process share a transaction.
BILLING_USAGE_GROUP_COMMIT = env.bool("BILLING_USAGE_GROUP_COMMIT", default=True)
# How the tables of events and keys are kept; docs/usage-storage.md.
BILLING_USAGE_DAYS_AHEAD = env.int("BILLING_USAGE_DAYS_AHEAD", default=7)
BILLING_USAGE_KEYS_PER_GENERATION = env.int("BILLING_USAGE_KEYS_PER_GENERATION", default=2_000_000)
BILLING_USAGE_RETENTION_DAYS = env.int("BILLING_USAGE_RETENTION_DAYS", default=0)  # 0: events are kept for ever
BILLING_USAGE_ARCHIVE_DIR = Path(env.str("BILLING_USAGE_ARCHIVE_DIR", default="") or BILLING_DATA_DIR / "usage-archive")
BILLING_USAGE_PROOF_DAYS = env.int("BILLING_USAGE_PROOF_DAYS", default=3)  # looked at every night; 0: all

# Where entitlement checks look first: off (the database, always) or redis (what was read less than a second ago).
BILLING_ENTITLEMENT_CACHE = env.str("BILLING_ENTITLEMENT_CACHE", default="off")
if BILLING_ENTITLEMENT_CACHE not in ("off", "redis"):
    raise ImproperlyConfigured("BILLING_ENTITLEMENT_CACHE is off or redis.")
if BILLING_ENTITLEMENT_CACHE == "redis" and not REDIS_URL:
    raise ImproperlyConfigured("BILLING_ENTITLEMENT_CACHE=redis needs BILLING_REDIS_URL.")
# How long features stay on while a payment is overdue, counted from the start of the period that was not paid.
BILLING_PAST_DUE_GRACE_DAYS = env.int("BILLING_PAST_DUE_GRACE_DAYS", default=0)
# How long a start that waits for its first payment waits.
BILLING_INCOMPLETE_HOURS = env.int("BILLING_INCOMPLETE_HOURS", default=23)
# From which percent of a quota on it is at warning, unless the quota says so itself, and at critical.
BILLING_QUOTA_WARNING_PERCENT = env.int("BILLING_QUOTA_WARNING_PERCENT", default=75)
BILLING_QUOTA_CRITICAL_PERCENT = env.int("BILLING_QUOTA_CRITICAL_PERCENT", default=90)
# How long a reservation of quota keeps its room unless it asks for another time.
BILLING_QUOTA_RESERVATION_SECONDS = env.int("BILLING_QUOTA_RESERVATION_SECONDS", default=900)
BILLING_CURRENCIES = env.list("BILLING_CURRENCIES", default=[])  # empty: every currency of the exponent table
BILLING_RUN_CHUNK_SIZE = env.int("BILLING_RUN_CHUNK_SIZE", default=500)  # subscriptions billed in one transaction
BILLING_INVOICE_PREFIX = env.str("BILLING_INVOICE_PREFIX", default="INV")
BILLING_INVOICE_DUE_DAYS = env.int("BILLING_INVOICE_DUE_DAYS", default=7)
BILLING_CATALOG_APPROVAL = env.bool("BILLING_CATALOG_APPROVAL", default=True)  # in the admin; ADR 0017
BILLING_APPROVAL_LIMIT = env.int("BILLING_APPROVAL_LIMIT", default=10_000)  # minor units; 0: always two people
BILLING_GUESSES_PER_MINUTE = env.int("BILLING_GUESSES_PER_MINUTE", default=30)  # checks of a coupon code, per caller
# Refused usage requests are kept for some days, so many of one caller in a minute; the rest is only counted.
BILLING_REJECTED_USAGE_DAYS = env.int("BILLING_REJECTED_USAGE_DAYS", default=30)
BILLING_USAGE_IMPORT_MAX_BYTES = env.int("BILLING_USAGE_IMPORT_MAX_BYTES", default=50 * 1024 * 1024)  # one file
BILLING_JOB_FILE_DAYS = env.int("BILLING_JOB_FILE_DAYS", default=14)  # files of jobs in the admin are kept so long
BILLING_REJECTED_USAGE_PER_MINUTE = env.int("BILLING_REJECTED_USAGE_PER_MINUTE", default=30)
BILLING_STARTER_CREDIT_NEEDS_METHOD = env.bool("BILLING_STARTER_CREDIT_NEEDS_METHOD", default=True)
BILLING_REQUIRE_PAYMENT_METHOD = env.bool("BILLING_REQUIRE_PAYMENT_METHOD", default=False)  # for plans that cost
# Changes to the table of accounts.terms.tiers.
BILLING_TIERS: dict[str, object] = json.loads(env.str("BILLING_TIERS", default="{}"))
# What of the usage feed is billed: default, none, or the path of a rules file; docs/usage-feed.md.
BILLING_USAGE_EXPORT_POLICY = env.str("BILLING_USAGE_EXPORT_POLICY", default="default")
# Since when usage is told to payment providers that bill it; empty: not at all.
BILLING_USAGE_EXPORT_FROM = _read_instant("BILLING_USAGE_EXPORT_FROM", env.str("BILLING_USAGE_EXPORT_FROM", default=""))
BILLING_COMPANY = {
    "name": env.str("BILLING_COMPANY_NAME", default="Countinghouse"),
    "line1": env.str("BILLING_COMPANY_ADDRESS", default=""),
    "city": env.str("BILLING_COMPANY_CITY", default=""),
    "state": env.str("BILLING_COMPANY_STATE", default=""),
    "postal_code": env.str("BILLING_COMPANY_ZIP", default=""),
    "country": env.str("BILLING_COMPANY_COUNTRY", default=""),
    "email": env.str("BILLING_COMPANY_EMAIL", default=""),
    "tax_id": env.str("BILLING_COMPANY_TAX_ID", default=""),
}
# Countries among which a business with a valid tax number accounts for the tax itself; empty: the European Union's.
BILLING_TAX_UNION = frozenset(env.list("BILLING_TAX_UNION", default=[]))

# ---- messages out ---------------------------------------------------------------------------------------------------
# smtp+tls://user:password@host:587. Without one, mail is printed in development and waits for one elsewhere.
_email_url = env.str("BILLING_EMAIL_URL", default="")
if _email_url:
    vars().update(env.email_url_config(_email_url))
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend" if DEBUG else ""
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("BILLING_EMAIL_FROM", default="") or BILLING_COMPANY["email"] or "billing@localhost"
BILLING_CHAT_WEBHOOK_URL = env.str("BILLING_CHAT_WEBHOOK_URL", default="")  # Slack's format: {"text": …}
# Development only: calls out may use plain HTTP and go to private addresses.
BILLING_ALLOW_PRIVATE_URLS = env.bool("BILLING_ALLOW_PRIVATE_URLS", default=False)

# ---- logs -----------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("BILLING_LOG_LEVEL", default="info").upper()
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": "billing_site.platform.logs.make_formatter",
            "json": env.bool("BILLING_LOG_JSON", default=not DEBUG),
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django_structlog": {"level": "WARNING"},
        "fontTools": {"level": "WARNING"},  # says every step of making a PDF
    },
}

# ---- admin ----------------------------------------------------------------------------------------------------------
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Countinghouse",
    "SITE_HEADER": "Countinghouse",
    "SITE_SUBHEADER": "Billing back office",
    "SITE_SYMBOL": "account_balance",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "billing_site.backoffice.index.favicon"}],
    "STYLES": ["billing_site.backoffice.index.stylesheet"],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "billing_site.backoffice.index.dashboard_context",
    "ENVIRONMENT": "billing_site.backoffice.index.environment_badge",
    "SIDEBAR": {"show_search": True, "navigation": "billing_site.backoffice.navigation.build_navigation"},
    "COLORS": {
        "primary": {
            "50": "240 249 245",
            "100": "218 241 230",
            "200": "184 226 207",
            "300": "138 204 175",
            "400": "88 174 138",
            "500": "54 144 108",
            "600": "38 115 86",
            "700": "31 92 70",
            "800": "27 73 57",
            "900": "23 60 48",
            "950": "12 34 27",
        },
    },
}
