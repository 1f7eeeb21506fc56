"""`populace new`."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer


def new(path: Annotated[Path, typer.Argument(help="The file to write, ending in .py.")]) -> None:
    """Write a society of your own to begin with, the README's under the file's name, and say how to run it."""
    from populace.core.errors import SettingsError
    from populace.files import storage_error

    if path.suffix != ".py":
        raise SettingsError(f"{path}: a society is a Python file. Call it {path.with_suffix('.py')}")
    text = files("populace.cli").joinpath("my_society.txt").read_text(encoding="utf-8")
    text = text.replace('name="my_society"', f"name={json.dumps(path.stem, ensure_ascii=False)}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SettingsError(f"{path}: is there already, and stays as it is. Choose another name.") from None
    except OSError as error:
        raise storage_error(error, path, "written") from error
    sys.stdout.write(f"{path}: written. Run it:\n\n  populace run {shlex.quote(str(path))} --model scripted\n")
