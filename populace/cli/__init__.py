"""The command line: a file a command. The work itself is in `populace.runs`, as functions that Python calls too.

`app` holds the parser and turns errors into messages and exit codes; `shown` prints a run's progress and summary;
`streams` keeps a command whole when its reader goes away. Nothing imports this room; `main` is the entry point.
"""

from populace.cli.app import main

__all__ = ["main"]
