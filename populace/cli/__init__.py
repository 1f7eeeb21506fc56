"""The command line: a file a command. The work itself is in `populace.runs`, as functions that Python calls too.

`app` holds the parser and turns errors into messages and exit codes; `shown` prints a run's progress and summary;
`streams` keeps a command whole when its reader goes away. Nothing imports this room; `main` is the entry point.
"""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, with sets of strings in one order.

    Python draws that order for each process, which would make a society's prompts differ between runs; so this very
    program begins once more with it fixed, before anything that takes time is loaded.
    """
    try:
        if os.environ.get("PYTHONHASHSEED") is None and sys.argv and os.path.exists(sys.argv[0]):  # noqa: PTH110
            os.environ["PYTHONHASHSEED"] = "0"
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # it is this very program
        from populace.cli.app import command
    except KeyboardInterrupt:
        sys.stderr.write("populace: interrupted before anything was begun\n")
        sys.exit(130)
    command()
