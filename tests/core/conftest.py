"""Hypothesis without its clock: on a busy machine a deadline for single examples fails what is not broken."""

from hypothesis import settings

settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
