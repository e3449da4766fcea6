"""Hypothesis with fewer examples than it would take, and without a deadline for each, for machines that are busy."""

from hypothesis import settings

settings.register_profile("patient", deadline=None, max_examples=50)
settings.load_profile("patient")
