"""Properties are tested on machines that may be busy: how long an example takes is not judged."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
