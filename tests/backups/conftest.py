"""Hypothesis without a deadline for each example, for machines that are busy."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
