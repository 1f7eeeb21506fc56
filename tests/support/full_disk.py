"""A disk that is really full: a small tmpfs where mounting is permitted, and a limit on the size of files."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """A folder on a file system of its own with this much space; skips the test where mounting is not permitted."""
    with tempfile.TemporaryDirectory() as folder:
        options = f"size={size_bytes}"
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "populace-test", folder], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting a tmpfs is not permitted here: {error}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond this size (EFBIG, the error of a quota's kind) inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
