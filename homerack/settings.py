"""Django's settings. The environment is read through `env` only; docs/settings.md lists every variable."""

import datetime as dt
import zoneinfo
from pathlib import Path
from typing import Any

from csp import constants as csp
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from homerack.config import databases, env, locations
from homerack.web import navigation
from ops.utils.redis_url import celery_address

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_dotenv(BASE_DIR / ".env")

# --- Core -----------------------------------------------------------------------------------------------------
DEBUG = env.get_bool("DEBUG", default=False)
SECRET_KEY = env.get_secret("SECRET_KEY", "insecure-key-for-development-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Generate one with: "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))' and set SECRET_KEY or SECRET_KEY_FILE.",
    )
DEFAULT_EXCEPTION_REPORTER_FILTER = "homerack.web.debug_pages.SecretsFilter"
# Earlier keys: what they signed stays valid.
SECRET_KEY_FALLBACKS = env.get_secrets("SECRET_KEY_FALLBACKS")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# Health probes use these names inside the container.
ALLOWED_HOSTS = [*env.get_list("ALLOWED_HOSTS"), *LOOPBACK_HOSTS]
CSRF_FAILURE_VIEW = "homerack.web.error_pages.csrf_failure"
CSRF_TRUSTED_ORIGINS = env.get_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "homerack.apps.HomeRackAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "homerack.apps.SchedulesConfig",
    "homerack",
    "homerack.history",
    "homerack.accounts",
    "homerack.inventory",
    "homerack.spreadsheets",
    "ops",
]

MIDDLEWARE = [
    "homerack.postgresql.middleware.retry_budget_middleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "homerack.web.middleware.permissions_policy",
    "homerack.web.middleware.refuse_null_characters",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ops.maintenance.maintenance_middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "homerack.history.middleware.change_set_middleware",
    "axes.middleware.AxesMiddleware",
    "homerack.web.error_pages.explain_refused_methods",
]

ROOT_URLCONF = "homerack.urls"
# The path of the admin. The site's root redirects only to the default path (homerack/urls.py).
ADMIN_PATH = env.get_url_path("ADMIN_PATH", default="admin/", reserved=("health/", "static/"))
WSGI_APPLICATION = "homerack.wsgi.application"
ASGI_APPLICATION = "homerack.asgi.application"

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

# --- Database -------------------------------------------------------------------------------------------------
DATABASES = {"default": databases.configure(base_dir=BASE_DIR)}
# The engine that the operator expects; a system check compares it with DATABASE_URL.
DB_TYPE = env.get_text("DB_TYPE") and env.get_choice("DB_TYPE", default="", choices=tuple(databases.DB_TYPES))
# PostgreSQL itself if DATABASE_URL is PgBouncer, for what needs a session of its own, such as locks and snapshots.
OPS_DIRECT_DATABASE = databases.configure_direct(DATABASES["default"])
# The target of `migrate_to_postgres`. In the arguments of the command other users would see its password.
POSTGRES_URL = env.get_secret("POSTGRES_URL")
# The number of web processes of gunicorn, which reads the same variable. Each has its own pool.
WEB_CONCURRENCY = env.get_int("WEB_CONCURRENCY", default=1, minimum=1)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People ---------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "homerack.accounts.login_protection.Backend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    # Passwords of HomeRack 1.0.1; each is rehashed when its user next signs in.
    "django.contrib.auth.hashers.BCryptPasswordHasher",
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

# --- Language, time, files --------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "homerack.formats"
TIME_ZONE = env.get_text("TIME_ZONE", "UTC")
# To list all time zones takes longer than all other settings together.
if TIME_ZONE != "UTC" and TIME_ZONE not in zoneinfo.available_timezones():
    raise env.refuse("TIME_ZONE", f"is {TIME_ZONE!r}, which is not the name of a time zone", "Europe/Berlin")
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        ),
    },
}

# Days that the history of changes is kept.
HISTORY_DAYS = env.get_int("HISTORY_DAYS", default=365, minimum=1)

# --- Security -------------------------------------------------------------------------------------------------
HTTPS = env.get_bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
# Probes come from inside the container, by plain HTTP to localhost.
SECURE_REDIRECT_EXEMPT = [r"^health(/|$)"]
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = env.get_int("HSTS_SECONDS", default=31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
BEHIND_PROXY = env.get_bool("BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
# Maximum bytes of a request. Only the page for uploads accepts more, and files.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
FILE_UPLOAD_HANDLERS = ["homerack.uploads.RefuseFiles"]
# Seconds in which the headers and then the body of a request must arrive (homerack/web/gunicorn_worker.py).
WEB_HEAD_SECONDS = 10
WEB_BODY_SECONDS = 30
# Seconds that a request waits for a thread before it is answered with 503.
WEB_QUEUE_SECONDS = 10
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.NONE],
        # The admin's Alpine.js compiles the expressions in its attributes.
        "script-src": [csp.SELF, csp.UNSAFE_EVAL],
        # The admin's pages have inline colours and widths.
        "style-src": [csp.SELF, csp.UNSAFE_INLINE],
        "img-src": [csp.SELF, "data:"],
        "font-src": [csp.SELF],
        "connect-src": [csp.SELF],
        "form-action": [csp.SELF],
        "frame-ancestors": [csp.NONE],
        "base-uri": [csp.NONE],
    },
}

# Whether clients have different addresses here. Behind a published port of a container, or an unknown proxy, all may
# have the same address, and a lockout of that address would lock out all users.
CLIENT_ADDRESSES_DIFFER = env.get_bool("CLIENT_ADDRESSES_DIFFER", default=True) or BEHIND_PROXY
# Protection from password guessing (django-axes); homerack/accounts/login_protection.py has the limits.
AXES_HANDLER = "homerack.accounts.login_protection.Handler"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = dt.timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
# An attempt during a lockout does not extend it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_FORM_FIELD = "username"
AXES_USERNAME_CALLABLE = "homerack.accounts.login_protection.username_from"
AXES_CLIENT_IP_CALLABLE = "homerack.accounts.login_protection.client_ip"
AXES_LOCKOUT_CALLABLE = "homerack.accounts.login_protection.lockout_response"
# Failures are stored until the lockout ends. The access log of axes would have to be pruned.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- Looking after the database (the `ops` app) -----------------------------------------------------------------
# The format of SQLite files of HomeRack 1.0.1, for `migrate_to_postgres`.
OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"
OPS_VERSION = "0.1.0"
# The history is no content of its own: the preview of a restore counts the rows that it is about.
OPS_PREVIEW_EXCLUDED_TABLES = [
    "accounts_historicaluser",
    "history_changeset",
    "inventory_historicalbrand",
    "inventory_historicalcable",
    "inventory_historicaldevice",
    "inventory_historicaldevicemodel",
    "inventory_historicaldevicetype",
    "inventory_historicalrack",
    "inventory_historicalrackposition",
]
OPS_SITE_NAME = "HomeRack"
# Messages of ops name the environment variables that operators set.
OPS_SETTING_NAMES = {
    "DATABASES": "DATABASE_URL",
    "OPS_CELERY_APP": "REDIS_URL",
    "OPS_DIRECT_DATABASE": "DATABASE_DIRECT_URL",
    "OPS_POSTGRES_BIN": "PG_BIN",
    "OPS_UPLOAD_LIMIT": "BACKUP_UPLOAD_LIMIT_MB",
}
# The directory in which pg_dump and pg_restore are searched first.
OPS_POSTGRES_BIN = env.get_text("PG_BIN")
BACKUP_DIR = BASE_DIR / env.get_text("BACKUP_DIR", "backups")
# Files of imports until they are imported. Like BACKUP_DIR, the web server and the worker share it.
IMPORT_DIR = BACKUP_DIR / "imports"
# Other storage locations, which get a copy of each backup.
BACKUP_LOCATIONS = locations.read_locations()
# Locations that should have a copy of each backup, with BACKUP_DIR; 0: all.
BACKUP_MIN_COPIES = env.get_int("BACKUP_MIN_COPIES", default=0)
OPS_BACKUP_PREFIX = "homerack"
# Signs the manifests of backups. Default: SECRET_KEY, of which a system check warns.
BACKUP_SIGNING_KEY = env.get_secret("BACKUP_SIGNING_KEY")
# Earlier signing keys, which still verify backups.
BACKUP_SIGNING_KEY_FALLBACKS = env.get_secrets("BACKUP_SIGNING_KEY_FALLBACKS")
# This machine's keys of age: the first is what new backups are encrypted to, all of them decrypt.
BACKUP_AGE_IDENTITY = env.get_keys("BACKUP_AGE_IDENTITY")
# Public keys of persons that backups are encrypted to, in addition to those of recovery kits.
BACKUP_AGE_RECIPIENTS = env.get_keys("BACKUP_AGE_RECIPIENTS")
BACKUP_RETENTION_DAYS = env.get_int("BACKUP_RETENTION_DAYS", default=7, minimum=1)
BACKUP_KEEP_DAILY = env.get_int("BACKUP_KEEP_DAILY", default=0)
BACKUP_KEEP_WEEKLY = env.get_int("BACKUP_KEEP_WEEKLY", default=0)
BACKUP_KEEP_MONTHLY = env.get_int("BACKUP_KEEP_MONTHLY", default=0)
BACKUP_KEEP_YEARLY = env.get_int("BACKUP_KEEP_YEARLY", default=0)
# Days for which the previous database is kept after a restore.
UNDO_KEEP_DAYS = env.get_int("UNDO_KEEP_DAYS", default=3, minimum=1)
# Maximum bytes of a backup that is uploaded in the admin.
OPS_UPLOAD_LIMIT = env.get_int("BACKUP_UPLOAD_LIMIT_MB", default=10_000, minimum=1) * 1_000_000

# Maximum age in hours of the last verified backup; the admin and /health/ warn about older ones.
BACKUP_MAX_AGE_HOURS = env.get_int("BACKUP_MAX_AGE_HOURS", default=26, minimum=1)
# Recipients of notifications (addresses of apprise), and the heartbeat monitor.
NOTIFY_URLS = env.get_urls("NOTIFY_URLS")
HEARTBEAT_URL = env.get_secret("HEARTBEAT_URL")
if HEARTBEAT_URL and not HEARTBEAT_URL.startswith(("https://", "http://")):
    raise env.refuse("HEARTBEAT_URL", "is not an http(s) URL", "https://hc-ping.com/<id of a check>")
# Where each of these is set. The admin can change some of the others, and shows all.
OPS_SETTING_SOURCES = env.sources(
    (
        "BACKUP_AGE_IDENTITY",
        "BACKUP_AGE_RECIPIENTS",
        "BACKUP_DIR",
        "BACKUP_KEEP_DAILY",
        "BACKUP_KEEP_MONTHLY",
        "BACKUP_KEEP_WEEKLY",
        "BACKUP_KEEP_YEARLY",
        "BACKUP_LOCATIONS",
        "BACKUP_MAX_AGE_HOURS",
        "BACKUP_MIN_COPIES",
        "BACKUP_RETENTION_DAYS",
        "BACKUP_SIGNING_KEY",
        "HEARTBEAT_URL",
        "NOTIFY_URLS",
        "OPS_CELERY_APP",
        "OPS_UPLOAD_LIMIT",
        "TIME_ZONE",
        "UNDO_KEEP_DAYS",
    ),
    OPS_SETTING_NAMES,
)
OPS_ALERT_SOURCES = ["homerack.accounts.reporting.password_guessing_alerts"]
OPS_DASHBOARD_CARDS = ["homerack.accounts.dashboard.password_guessing_card", "homerack.web.dashboard.lab_card"]

# Seconds after which the web server counts as hanging if no thread has become free.
OPS_STALLED_AFTER = 60

# --- Redis: Celery's broker and results; without it there are no background tasks ---------------------------------
REDIS_URL = env.get_redis_url("REDIS_URL")
OPS_CELERY_APP = "homerack.celery.app" if REDIS_URL else ""
celery_url, sentinel_options = celery_address(REDIS_URL)
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = celery_url or None
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = sentinel_options
CELERY_TIMEZONE = TIME_ZONE
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
# A task is started once. `ops` marks an interrupted one and shows it; it is never repeated automatically.
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
# The run has its state.
CELERY_TASK_TRACK_STARTED = False
CELERY_RESULT_EXPIRES = 24 * 3600  # seconds, as everywhere below
# The first limit raises an error in the task, which cleans up; the second ends its process.
CELERY_TASK_SOFT_TIME_LIMIT = 6 * 3600
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT + 15 * 60
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # An unreachable Redis is an error, not a hang.
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    # Redis redelivers a message that is not acknowledged for so long; it may wait behind another task.
    "visibility_timeout": 2 * CELERY_TASK_TIME_LIMIT,
    **sentinel_options,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "ops.schedules.beat:Scheduler"

# --- Console and log --------------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "HomeRack",
    "SITE_HEADER": "HomeRack",
    "SITE_SYMBOL": "dns",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("inventory/favicon.svg")}
    ],
    "STYLES": [
        lambda _request: static("homerack/frame.css"),
        lambda _request: static("inventory/admin.css"),
        lambda _request: static("ops/dashboard.css"),
        lambda _request: static("ops/pages.css"),
    ],
    "SCRIPTS": [
        lambda _request: static("homerack/frame.js"),
        lambda _request: static("homerack/mistakes.js"),
        lambda _request: static("homerack/palette.js"),
        lambda _request: static("ops/copy-command.js"),
    ],
    # The site has no pages but the admin's.
    "SITE_URL": None,
    "DASHBOARD_CALLBACK": "ops.admin.dashboard.context.add_dashboard",
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": navigation.SECTIONS},
    # The lists whose rows the search of the sidebar finds, in this order.
    "COMMAND": {
        "search_models": (
            "inventory.device",
            "inventory.rack",
            "inventory.devicemodel",
            "inventory.brand",
            "inventory.devicetype",
            "inventory.cable",
            "accounts.user",
        )
    },
}
LOG_LEVEL = env.get_choice("LOG_LEVEL", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "ops.utils.printable.PrintableFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
    },
    # A user who reports an error names its id.
    "filters": {"error_id": {"()": "homerack.web.error_pages.ErrorId"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        # Without a handler, Django only mails errors outside DEBUG.
        "django": {"handlers": ["console"], "level": "INFO"},
        "django.request": {"filters": ["error_id"]},
        "celery": {"handlers": ["console"], "level": "INFO"},
        "homerack": {"handlers": ["console"], "level": LOG_LEVEL},
        "ops": {"handlers": ["console"], "level": LOG_LEVEL},
        "axes": {"handlers": ["console"], "level": "WARNING"},
        # DB_ECHO controls these lines, independent of LOG_LEVEL.
        "homerack.postgresql.query_logging": {"level": "INFO"},
    },
}
