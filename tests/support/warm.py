"""Hands out processes that are the command line already loaded: forked from one that has imported it and done no more.

A command spends more on imports than on the small runs of tests, so `support.command` asks here for its processes. What
comes is a process of its own, with its own folder, variables, streams, signals, threads and exit code, in which
`python -m populace.cli` begins as it always does; only its imports are there. Ray and what draws are not among them.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any

_LOADED = ("populace.cli.app", "populace.runs.once", "populace.models.client", "pandas", "pyarrow.parquet", "igraph")


def main() -> None:
    """Serve asks that come by the socket on descriptor 0, each with a socket of its own and three streams."""
    for name in _LOADED:
        __import__(name)
    gc.collect()
    gc.freeze()  # what is loaded is not looked at again, so its pages stay shared
    asks = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for pytest, which then closes the socket
    keepers = []
    while True:
        _, handles, _, _ = socket.recv_fds(asks, 1, 4)
        keepers = [pid for pid in keepers if os.waitpid(pid, os.WNOHANG) == (0, 0)]
        if not handles:
            for pid in keepers:
                os.waitpid(pid, 0)
            return
        if (keeper := os.fork()) == 0:
            asks.close()
            break
        keepers.append(keeper)
        for handle in handles:
            os.close(handle)
    with socket.socket(fileno=handles[0]) as told:
        with told.makefile("r") as lines:
            ask = json.loads(lines.readline())
        child = os.fork()
        if child:  # this process waits for the command and says how it ended
            for handle in handles[1:]:
                os.close(handle)
            told.sendall(b"%d\n" % child)
            told.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os._exit(0)
    _become(ask, handles[1:])
    runpy.run_module("populace.cli", run_name="__main__", alter_sys=True)


def _become(ask: dict[str, Any], streams: list[int]) -> None:
    """Be what `python -m populace.cli` would be, begun anew with these arguments, folder, variables and streams."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if ask["session"]:
        os.setsid()
    os.chdir(ask["cwd"])
    os.environ.clear()
    os.environ.update(ask["env"])
    sys.argv[1:] = ask["args"]
    sys.orig_argv[1:] = ["-m", "populace.cli", *ask["args"]]
    sys.path[0] = ask["cwd"]


if __name__ == "__main__":
    main()
