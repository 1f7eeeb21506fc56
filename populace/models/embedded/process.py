"""The embedded model, from its parent's side: a child process that serves the model on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from typing import Final

from populace.core.errors import ModelError
from populace.models.embedded.weights import Progress, weights_path
from populace.settings import Model

_START_S: Final = 300.0
NO_XLLAMACPP: Final = (
    "the embedded model needs xllamacpp, which is not installed: pip install 'populace[embedded]'. Or use another "
    "model: --model scripted needs none, --model openai any OpenAI-compatible endpoint."
)


def threads_for(model: Model) -> int:
    """How many threads the model computes with: all cores but one, unless the settings say.

    With every core taken, one busy neighbour makes it several times slower.
    """
    # Cores that this process may use, which in a container are fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 2
    return model.threads or max(1, cores - 1)


class EmbeddedServer:
    """Starts and ends the child. `open` gives the base URL; raises ModelError or WeightsError when it can't serve."""

    def __init__(self, model: Model, progress: Progress | None = None) -> None:
        self._model = model
        self._progress = progress
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return None if self._child is None else self._child.pid

    async def open(self) -> str:
        """Fetch the weights if need be, start the child, and give the base URL that it serves at."""
        path = await asyncio.to_thread(weights_path, self._model.path, self._progress)
        options = {
            "path": str(path),
            "threads": threads_for(self._model),
            "context_tokens": self._model.context_tokens,
            "parent": os.getpid(),
        }
        with tempfile.TemporaryFile() as log:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "populace.models.embedded.server",
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            try:
                said = await asyncio.wait_for(self._first_line(), _START_S)
            except TimeoutError:
                await self.close()
                raise ModelError(f"the embedded model took more than {_START_S:.0f} s to load {path}.") from None
            if "port" in said:
                return f"http://127.0.0.1:{said['port']}/v1"
            await self.close()
            if said.get("missing"):
                raise ModelError(f"{NO_XLLAMACPP} ({said['error']})")
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-8:]
            raise ModelError(
                "\n".join([f"the embedded model cannot serve {path}: {said.get('error', 'it ended at once')}", *tail])
            )

    async def close(self) -> None:
        """End the child: its standard input closes, and it is killed if that does not end it in 5 s."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), 5.0)
        except TimeoutError:
            child.kill()
            await child.wait()

    async def _first_line(self) -> dict[str, object]:
        """The child's line of JSON; empty when it ended without one."""
        assert self._child is not None
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            if line.startswith(b"{"):
                said: dict[str, object] = json.loads(line)
                return said
        return {}
