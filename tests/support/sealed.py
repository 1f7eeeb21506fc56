"""A study that was sealed by somebody else, and archives that were tampered with."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from populace.experiments.sealing.archive import write_archive
from populace.experiments.sealing.listed import SEAL, Member, Seal, decoded, encoded
from populace.store.journal.read import read_journal
from populace.store.journal.write import Journal
from populace.testing import FakeEndpoint
from support.command import ended
from support.experiments import changed, run_here

KEY = "canary-8c1e5b7d90aa41"
CODE = "society/0/changed_experiment.py"
CONTROL = "runs/control-000/journal/s0000-a0000-000000.journal"


@dataclass(frozen=True)
class Study:
    """An experiment's folder of its author, the archive of it, and what it was run with."""

    home: Path
    folder: Path
    archive: Path
    seal: Seal


def author_runs(home: Path, monkeypatch) -> Path:
    """Somebody runs an experiment on an endpoint with a key; its society imports modules and reads files beside it."""
    home.mkdir()
    (home / "leaning.py").write_text("from tilting import TILT\n\ndef openness(usual):\n    return usual * TILT\n")
    (home / "tilting.py").write_text("TILT = 0.5\n")
    (home / "prompt.txt").write_text("You stand at {attitude} and heard {heard}. Are you moved?")
    (home / "start.txt").write_text("5.5")
    file = changed(
        home,
        ("from populace.env", "from pathlib import Path\n\nfrom leaning import openness\nfrom populace.env"),
        ("class Dials", 'PROMPT = Path(__file__).with_name("prompt.txt").read_text()\n\n\nclass Dials'),
        ('            prompt = "You stand at {attitude} and heard {heard}. Are you moved?"\n', ""),
        ("ctx.ask(prompt,", "ctx.ask(PROMPT,"),
        ("ctx.parameters.openness *", "openness(ctx.parameters.openness) *"),
        ("[setup.parameters.start +", '[float(Path(__file__).with_name("start.txt").read_text()) +'),
    )
    monkeypatch.setenv("STUDY_API_KEY", KEY)
    monkeypatch.syspath_prepend(str(home))
    with FakeEndpoint(key=KEY) as endpoint:
        settings = {**endpoint.settings, "endpoint.api_key_env": "STUDY_API_KEY"}
        run_here(file, home / "out", settings=settings, replicates=1, model="openai", dry=False)
        assert endpoint.billed.calls > 0
    for name in ("leaning", "tilting"):
        sys.modules.pop(name, None)
    return home / "out"


def members(archive: Path) -> dict[str, bytes]:
    """All that is in an archive."""
    with zipfile.ZipFile(archive) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def tampered(
    archive: Path, out: Path, changes: Mapping[str, Callable[[bytes], bytes] | None], *, resealed: bool = False
) -> Path:
    """An archive in which members were changed, or left out (None); `resealed` with checksums that hold again."""
    held = members(archive)
    for name, change in changes.items():
        if change is None:
            del held[name]
            continue
        was = held.get(name, b"")
        held[name] = change(was)
        assert held[name] != was, name
    if resealed:
        seal = decoded(held.pop(SEAL), "") if SEAL not in changes else msgspec.json.decode(held.pop(SEAL), type=Seal)
        listed = {name: Member(len(one), sha256(one).hexdigest()) for name, one in sorted(held.items())}
        held[SEAL] = encoded(msgspec.structs.replace(seal, members=listed).signed())
    write_archive(out, held)
    return out


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Changes one place of a text."""

    def change(was: bytes) -> bytes:
        assert was.count(old.encode()) == 1, old
        return was.replace(old.encode(), new.encode())

    return change


def other_answer(journal: bytes, run: str, tick: int, folder: Path) -> tuple[bytes, int]:
    """A journal with one answer of a tick changed and all its checksums mended; and the agent whose answer it is."""
    folder.mkdir()
    name = CONTROL.rpartition("/")[2]
    (folder / name).write_bytes(journal)
    pairs = [(one.key, one.answer) for one in read_journal(folder, run=run)]
    at = next(n for n, (_, one) in enumerate(pairs) if one.tick == tick and one.settled == "answered")
    key, one = pairs[at]
    assert "yes" in one.text or "no" in one.text
    text = one.text.replace("yes", "no") if "yes" in one.text else one.text.replace("no", "yes")
    pairs[at] = key, msgspec.structs.replace(one, text=text)
    (folder / name).unlink()
    with Journal(folder, run=run, shard=0, attempt=0) as written:
        written.append(pairs)
        written.commit()
    return (folder / name).read_bytes(), one.agent


def as_another_user(*args: str, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line with another home, without anything of the author's environment, and no key."""
    home.mkdir(exist_ok=True)
    kept = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return ended(*args, cwd=cwd, env={**env, "HOME": str(home), "PYTHONHASHSEED": "0"})
