"""The embedded model's process: `python -m populace.models.embedded.server`, the only importer of xllamacpp.

Serves one GGUF file on loopback, and prints one line of JSON: `{"port": 12345}`, or `{"error": "..."}`. It ends when
its standard input closes, so it never outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, Final
from urllib.parse import urlsplit

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Read the options (JSON, the only argument), serve, and wait for the parent to close standard input."""
    options = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with(int(options["parent"]))
    try:
        server = _serve(options)
    except ImportError as error:
        _say({"error": f"xllamacpp cannot be imported: {error}", "missing": True})
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever llama.cpp objects to is told to the parent
        _say({"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    _say({"port": urlsplit(server.listening_address).port})
    sys.stdin.buffer.read()
    # A request may be running; nobody waits for its answer any more.
    os._exit(0)


def _serve(options: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = int(options["context_tokens"])
    # One slot, and no memory of earlier prompts: else an answer depends, in its digits, on what was asked before.
    params.n_parallel = 1
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.cpuparams.n_threads = int(options["threads"])
    params.cpuparams_batch.n_threads = int(options["threads"])
    # Embeddings beside answers, which stay what they are without: the mean over a text's tokens.
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.verbosity = 1
    params.ui = False
    return xllamacpp.Server(params)


def _die_with(parent: int) -> None:
    """On Linux the kernel kills this process with its parent, even where standard input is held open by others."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
