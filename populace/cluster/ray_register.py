"""A small text on a Ray cluster that changes by compare-and-swap: an actor by the account's name. Shell: Ray.

The actor is in a namespace of populace's, stands beside the head, and belongs to no run: it outlives the one that made
it, and ends itself once nobody has called it for a while. Where its process is lost Ray makes it anew, and it knows
nothing then: it refuses for as long as a part may be held, so that whoever held one has let go of it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any, Final

import ray

from populace.budget.sharing import Busy
from populace.cluster.ray_connecting import connect
from populace.core.errors import SettingsError, StorageError

NAMESPACE: Final = "populace"
LONELY_S: Final = 30.0
"""For how long nobody calls before the actor ends itself."""
BLIND_S: Final = 15.0
"""For how long an actor that was made anew refuses: longer than a part lasts that up to a hundred runs hold."""
_CALL_S: Final = 5.0
_MAKING_S: Final = 60.0
_TRIES: Final = 20
_HEAD: Final = {"node:__internal_head__": 0.001}


class AccountActor:
    """The text of one account, and its version."""

    def __init__(self, lonely_s: float, blind_s: float) -> None:
        self._text: bytes | None = None
        self._version = 0
        self._lock = threading.Lock()
        self._over = False
        self._lonely_s = lonely_s
        self._called_s = time.monotonic()
        anew = ray.get_runtime_context().was_current_actor_reconstructed
        self._blind_until_s = time.monotonic() + blind_s if anew else 0.0
        threading.Thread(target=self._watch, args=(ray.get_runtime_context().current_actor,), daemon=True).start()

    def read(self) -> tuple[float, bytes | None, int]:
        """For how many seconds it refuses still, the text, and its version."""
        with self._lock:
            self._called_s = time.monotonic()
            refuses_s = 1.0 if self._over else self._blind_until_s - self._called_s
            return max(0.0, refuses_s), self._text, self._version

    def write(self, text: bytes, version: int) -> bool:
        """Put a text in the place of that version, if it is the newest."""
        with self._lock:
            self._called_s = time.monotonic()
            if version != self._version or self._called_s < self._blind_until_s or self._over:
                return False
            self._text, self._version = text, version + 1
            return True

    def process(self) -> int:
        """The id of its process."""
        return os.getpid()

    def _watch(self, own: Any) -> None:
        while True:
            time.sleep(self._lonely_s / 4)
            with self._lock:
                self._over = time.monotonic() - self._called_s >= self._lonely_s
            if self._over:
                ray.kill(own)  # for good: one that ends so is not made anew


class RayRegister:
    """The text of an account on the Ray that this process is connected to; see `populace.budget.shares.Register`."""

    def __init__(self, account: str, lonely_s: float = LONELY_S, blind_s: float = BLIND_S) -> None:
        if not ray.is_initialized():
            if "RAY_ADDRESS" not in os.environ:
                raise SettingsError("endpoint.share_limits = 'ray': set RAY_ADDRESS to the cluster that is meant.")
            connect()
        self.name = f"account-{account}"
        self.place = f"the actor {self.name} in Ray's namespace {NAMESPACE}"
        self._how = lonely_s, blind_s
        self._actor: Any = None

    def read(self) -> tuple[bytes | None, object]:
        """One call; of an actor that has ended, another is made."""
        for nth in range(_TRIES):
            try:
                blind_s, text, version = self._call("read")
            except ray.exceptions.ActorDiedError:
                self._actor = None
                time.sleep(0.05 * (1 + nth))  # its name is free a moment later
                continue
            if blind_s > 0.0:
                raise Busy(f"{self.place}: was lost and made anew, or ends; it takes runs again in {blind_s:.0f} s.")
            return text, version
        raise StorageError(f"{self.place}: ends as often as it is made. See Ray's logs of that actor.")

    def write(self, text: bytes, mark: object) -> bool:
        """One call."""
        try:
            return bool(self._call("write", text, mark))
        except ray.exceptions.ActorDiedError:
            self._actor = None
            return False  # done or not: what is there is read again

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            if self._actor is None:
                self._actor = self._made()
                return ray.get(getattr(self._actor, method).remote(*arguments), timeout=_MAKING_S)
            return ray.get(getattr(self._actor, method).remote(*arguments), timeout=_CALL_S)
        except ray.exceptions.ActorDiedError:
            raise
        except ray.exceptions.ActorUnavailableError as error:
            raise Busy(f"{self.place}: is being made anew ({_first(error)}).") from error
        except (ray.exceptions.RayError, ValueError) as error:
            raise StorageError(
                f"{self.place}: does not answer ({_first(error)}). See whether the cluster is up."
            ) from error

    def _made(self) -> Any:
        """The actor, which another run may have made."""
        options: dict[str, Any] = {
            "name": self.name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True,
            "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "resources": _HEAD,
        }  # fmt: skip
        return ray.remote(**options)(AccountActor).remote(*self._how)


def members_text(account: str) -> bytes | None:
    """The text of an account, if there is one; no actor is made."""
    with suppress(ValueError, ray.exceptions.RayError):
        actor = ray.get_actor(f"account-{account}", NAMESPACE)
        text: bytes | None = ray.get(actor.read.remote(), timeout=_CALL_S)[1]
        return text
    return None


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
