"""Reads a checkpoint whole."""

from __future__ import annotations

from pathlib import Path

from populace.store.checkpoint import file as checkpoint_file


def read_all(file: Path) -> None:
    """Check every byte of a file as the generation that it was, whatever became of those that it refers to."""
    contents = checkpoint_file.read_contents(file)
    for entry in contents.blocks.values():
        for part in entry.parts:
            if part.file == file.name:
                checkpoint_file.read_part(file.parent, part)
