"""Plays all runs of an experiment: one after another here, or several side by side in processes of their own. Shell."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from populace.core import errors
from populace.core.errors import ActorLost, AskedToEnd, Diverged, Interrupted, PopulaceError, TransportError
from populace.experiments.design import Design, Task
from populace.experiments.playing import play
from populace.experiments.schedule import Ended, Schedule, ended
from populace.experiments.worker import Order, Told
from populace.runs.stop import Stop
from populace.store.manifest import MANIFEST, read_manifest

_GRACE_S: Final = 60.0
"""How long a process may take to save its run once it was told to end."""


class Watcher(Protocol):
    """What is told of an experiment as it goes on; from several threads, one at a time."""

    def begun(self, schedule: Schedule, jobs: int) -> None:
        """The experiment goes on from where it stands."""

    def started(self, task: Task) -> None:
        """A run begins or goes on."""

    def ticked(self, task: Task, tick: int, ticks: int) -> None:
        """A run has come so far."""

    def ended(self, one: Ended) -> None:
        """A run has ended."""

    def note(self, text: str) -> None:
        """Something to know."""


def conduct_all(schedule: Schedule, jobs: int, watcher: Watcher, stop: Stop) -> None:
    """Play all that is left. Raises what ends the experiment early, when no run is at work any more.

    A run that fails by itself (RunFailed), or that is asked to end in its folder (AskedToEnd), ends alone, and with it
    those that would have been forked from it; at the end the first such error is raised.
    """
    jobs = max(1, min(jobs, len(schedule.tasks) - len(schedule.done)))
    watcher.begun(schedule, jobs)
    first = _Here(schedule, watcher, stop).run() if jobs == 1 else _Pool(schedule, jobs, watcher, stop).run()
    if first is not None:
        raise first


class _Here:
    """Plays them in this process, one after another."""

    def __init__(self, schedule: Schedule, watcher: Watcher, stop: Stop) -> None:
        self._schedule = schedule
        self._watcher = watcher
        self._stop = stop

    def run(self) -> PopulaceError | None:
        """Play all; gives the first failure of a run."""
        first: PopulaceError | None = None
        while (task := self._schedule.next()) is not None:
            self._watcher.started(task)
            try:
                manifest = play(
                    self._schedule.folder, self._schedule.design_of(task), task, self._schedule.bounds(1),
                    observers=[_Ticks(self._watcher, task)], stop=self._stop,
                )  # fmt: skip
            except PopulaceError as error:
                if not self._schedule.forgives(error):
                    raise
                first = first or _of_run(task, error)
                one = _failed(self._schedule.folder, task, error)
            else:
                one = ended(task, manifest)
            self._schedule.end(one)
            self._watcher.ended(one)
            if self._stop.asked:
                raise Interrupted("the experiment was interrupted; every run that had ended is kept")
        return first


class _Ticks:
    """A run's observer that passes on how far it is."""

    def __init__(self, watcher: Watcher, task: Task) -> None:
        self._watcher = watcher
        self._task = task

    def begin(self, *_: Any) -> None: ...
    def pulse(self, *_: Any) -> None: ...
    def end(self, *_: Any) -> None: ...

    def tick(self, report: Any) -> None:
        """A tick has ended."""
        self._watcher.ticked(self._task, report.tick, report.ticks)

    def note(self, text: str) -> None:
        """Something to know of the run."""
        self._watcher.note(f"{self._task.run}: {text}")


class _Pool:
    """Plays them in several processes: a thread here for each, which gives it one run at a time."""

    def __init__(self, schedule: Schedule, jobs: int, watcher: Watcher, stop: Stop) -> None:
        self._schedule = schedule
        self._jobs = jobs
        self._watcher = watcher
        self._stop = stop
        self._change = threading.Condition()
        self._processes: list[subprocess.Popen[str]] = []
        self._failure: BaseException | None = None
        self._first: PopulaceError | None = None

    def run(self) -> PopulaceError | None:
        """Play all; gives the first failure of a run. Raises what ends all of them."""
        threads = [threading.Thread(target=self._work, name=f"populace job {n}") for n in range(self._jobs)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(0.1)
                if self._stop.asked:
                    self._end(Interrupted("the experiment was interrupted; what its runs have committed is saved"))
        except BaseException as error:
            self._end(error)
            for thread in threads:
                thread.join()
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted("the experiment was interrupted; what its runs have committed is saved") from None
            raise
        if self._failure is not None:
            raise self._failure
        return self._first

    def _end(self, why: BaseException) -> None:
        """Have all processes save what they are at and end."""
        with self._change:
            self._failure = self._failure or why
            for process in self._processes:
                with contextlib.suppress(OSError, ValueError):
                    assert process.stdin is not None
                    process.stdin.close()
            self._change.notify_all()

    def _work(self) -> None:
        try:
            told: Design | None = None
            with self._process() as process:
                while (order := self._next()) is not None:
                    if order.design is told:  # it has that one
                        self._one(process, msgspec.structs.replace(order, design=None))
                    else:
                        told = order.design
                        self._one(process, order)
        except BaseException as error:  # noqa: BLE001  # the thread that waits raises it
            self._end(error)

    @contextlib.contextmanager
    def _process(self) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "populace.experiments.worker", str(self._schedule.folder)]
        environment = {**os.environ, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")}
        process = subprocess.Popen(  # noqa: S603  # this very program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )  # a Ctrl-C reaches this process alone, which has the others save what they are at
        with self._change:
            self._processes.append(process)
        try:
            yield process
        finally:
            with self._change:
                self._processes.remove(process)
            with contextlib.suppress(OSError, ValueError):
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _next(self) -> Order | None:
        """The next run; waits where all that are left wait for others. None where nothing is left, or all ends."""
        with self._change:
            while self._failure is None and not self._schedule.is_over:
                if (task := self._schedule.next()) is not None:
                    self._watcher.started(task)
                    bounds = [(one[0], one[1]) for one in self._schedule.bounds(self._jobs)]
                    design = self._schedule.design_of(task)
                    return Order(task, bounds, None if design is self._schedule.design else design)
                self._change.wait()
            self._change.notify_all()
            return None

    def _one(self, process: subprocess.Popen[str], order: Order) -> None:
        """Have a process play one run."""
        task = order.task
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(order).decode() + "\n")
            process.stdin.flush()
        except (OSError, ValueError):
            raise self._lost(process, task) from None
        for line in process.stdout:
            told = msgspec.json.decode(line, type=Told)
            with self._change:
                match told.what:
                    case "tick":
                        self._watcher.ticked(task, told.tick, told.ticks)
                    case "note":
                        self._watcher.note(f"{task.run}: {told.text}")
                    case "ended":
                        return self._has_ended(msgspec.convert(told.ended, Ended))
                    case "failed":
                        error = _error(told)
                        if not self._schedule.forgives(error):
                            self._schedule.give_up(task)
                            raise error
                        self._first = self._first or _of_run(task, error)
                        return self._has_ended(_failed(self._schedule.folder, task, error))
        raise self._lost(process, task)

    def _has_ended(self, one: Ended) -> None:
        self._schedule.end(one)
        self._watcher.ended(one)
        self._change.notify_all()

    def _lost(self, process: subprocess.Popen[str], task: Task) -> PopulaceError:
        if self._failure is not None:
            return Interrupted(str(self._failure))
        code = process.poll()
        return TransportError(f"the process that played {task.run} ended (exit code {code}); give the experiment again")


def _of_run(task: Task, error: PopulaceError) -> PopulaceError:
    """The error; of a run that was asked to end it says which one that was."""
    return AskedToEnd(f"{task.run}: {error}; the other runs went on") if isinstance(error, AskedToEnd) else error


def _failed(folder: Path, task: Task, error: PopulaceError) -> Ended:
    """What a run came to that failed."""
    if (folder / task.run / MANIFEST).exists():
        return ended(task, read_manifest(folder / task.run))
    return Ended(task, "failed", 0, 0, 0, 0.0, 0.0, str(error))


def _error(told: Told) -> PopulaceError:
    """The error that a process told of, as one of this one."""
    kind: Any = getattr(errors, told.kind, None)
    plain = isinstance(kind, type) and issubclass(kind, PopulaceError) and not issubclass(kind, ActorLost | Diverged)
    error: PopulaceError = kind(told.text) if plain else TransportError(f"{told.kind}: {told.text}")
    for note in told.notes:
        error.add_note(note)
    return error
