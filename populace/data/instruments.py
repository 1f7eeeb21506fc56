"""Instruments by name or from a file of TOML. A shell: files."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from populace.agents.probes import attitudes, published
from populace.agents.probes.declared import instrument_of
from populace.agents.probes.instrument import Instrument
from populace.core.errors import SettingsError

SHIPPED: Final = {
    one.name: one
    for one in (
        published.CESD, published.CESD10, published.BFI10, published.IPIP25, published.PANAS, published.SPANE,
        attitudes.TRUST, attitudes.NET_PROMOTER, attitudes.LIBERAL_CONSERVATIVE, attitudes.LEFT_RIGHT,
    )
}  # fmt: skip
"""The instruments that ship, by the names that commands and settings know them by."""


def find_instrument(given: Instrument | str) -> Instrument:
    """An instrument as it is, by the name of one that ships, or from a TOML file (see `instrument_of`).

    Raises SettingsError for a name that there is not, naming those there are, and ScenarioError for what is wrong in
    a file.
    """
    if isinstance(given, Instrument):
        return given
    if given in SHIPPED:
        return SHIPPED[given]
    path = Path(given).expanduser()
    if path.suffix != ".toml" and not path.is_file():
        near = get_close_matches(given, SHIPPED, 1)
        meant = f" Is {near[0]!r} meant?" if near else ""
        raise SettingsError(
            f"no instrument is called {given!r}.{meant} There are {', '.join(SHIPPED)}; or give a TOML file with items "
            "of your own."
        )
    try:
        return instrument_of(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}). Check the path of the instrument.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not valid TOML: {error}") from None


def check_wording(instrument: Instrument) -> Instrument:
    """The instrument, where every item has a wording. Raises SettingsError for one whose wording is not passed on."""
    mute = [item.name for item in instrument.items if not item.text]
    if mute:
        raise SettingsError(
            f"instrument {instrument.name!r}: {', '.join(mute[:5])}{', ...' if len(mute) > 5 else ''} have no text, so "
            f"nobody can be asked them. {instrument.status} Put the wording into a TOML file of your own with the same "
            "names, and ask that."
        )
    return instrument
