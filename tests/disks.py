"""Disks that can be filled, or only read: small file systems in memory. Mounting them requires root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of the given size in bytes at a new folder; skip the test if it can't be mounted."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def read_only_disk(folder: Path) -> Iterator[Path]:
    """Mount an empty disk that can only be read at a new folder; skip the test if it can't be mounted."""
    with small_disk(folder, 1 << 20) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield disk
