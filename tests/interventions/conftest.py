"""Fixtures of the runs that are stopped and taken up again."""

from support.attempts import asked, reference

__all__ = ["asked", "reference"]
