"""The command line: a file a command. The work itself is in `populace.runs`."""

from populace.cli.app import main

__all__ = ["main"]
