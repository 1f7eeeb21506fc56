"""What a sealed study says of itself: `SEAL.json`, with the checksum of every member of the archive. Data.

The study's digest is the SHA-256 of this file with an empty digest in it, so it stands for every byte of the study.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from populace.core.errors import SealBroken

SEAL: Final = "SEAL.json"
FORMAT: Final = "populace sealed study"
VERSION: Final = 1
DESIGN: Final = "runs/experiment.json"
FIGURES: Final = "figures.csv"


class Member(msgspec.Struct, frozen=True):
    """A file of the archive: its length and its SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


class SealedCode(msgspec.Struct, frozen=True):
    """Code that a verification executes: the member that holds it, and what its author calls it."""

    member: str
    origin: str
    lines: int


class SealedRun(msgspec.Struct, frozen=True):
    """A run: what it is, how it ended after how many ticks, and its last hashes ('' where there is none).

    `model` says what answered, all minds that were at work in words.
    """

    run: str
    arm: str
    replicate: int
    seed: int
    status: str
    ticks: int
    trace_hash: str
    world_hash: str
    model: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """All of `SEAL.json`. `registered` is when the design was written, `sealed` when the archive was, both in UTC."""

    format: str = FORMAT
    version: int = VERSION
    digest: str = ""
    study: str
    question: str
    author: str
    host: str
    registered: str
    sealed: str
    versions: dict[str, str]
    code: list[SealedCode]
    runs: list[SealedRun]
    members: dict[str, Member]

    def computed(self) -> str:
        """The digest that its contents have: SHA-256, in hexadecimal digits."""
        return sha256(_encoded(msgspec.structs.replace(self, digest=""))).hexdigest()

    def signed(self) -> Seal:
        """It with its digest."""
        return msgspec.structs.replace(self, digest=self.computed())


def encoded(seal: Seal) -> bytes:
    """The one text of it."""
    return _encoded(seal)


def _encoded(seal: Seal) -> bytes:
    return msgspec.json.format(msgspec.json.encode(seal, order="deterministic"), indent=2) + b"\n"


def decoded(content: bytes, archive: str) -> Seal:
    """Read it. Raises SealBroken where it is none, is of a later populace, or is not what was sealed."""
    try:
        seal = msgspec.json.decode(content, type=Seal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SealBroken(f"{archive}: {SEAL}: is not what populace wrote: {error}. Ask for a good copy.") from None
    if seal.format != FORMAT:
        raise SealBroken(f"{archive}: {SEAL}: is of the format {seal.format[:60]!r}, not {FORMAT!r}.")
    if seal.version > VERSION:
        raise SealBroken(f"{archive}: {SEAL}: is of version {seal.version}; this populace reads up to {VERSION}.")
    if seal.computed() != seal.digest or encoded(seal) != content:
        raise SealBroken(f"{archive}: {SEAL}: was changed after it was sealed: its digest does not hold.")
    return seal
