"""What Django's detailed pages of errors, which only DEBUG shows, hide of the settings and of the environment."""

import re

from django.views.debug import SafeExceptionReporterFilter


class SecretsFilter(SafeExceptionReporterFilter):
    """Django knows secrets by words in their names, which keys of age and addresses with passwords do not have."""

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern
        + "|IDENTITY|NOTIFY_URL|HEARTBEAT_URL|REDIS_URL|BROKER_URL|RESULT_BACKEND|DATABASE_|POSTGRES_URL",
        flags=re.IGNORECASE,
    )
