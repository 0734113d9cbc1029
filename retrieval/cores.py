"""The number of cores that this process may use; in a container often fewer than the machine has."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Cores:
    """The usable cores, those of the machine, and why there are fewer, None if all are usable."""

    usable: int
    machine: int
    limit: str | None


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return find_cores().usable


def find_cores(proc: Path = PROC) -> Cores:
    """Return the cores that the affinity of this process and the CPU quotas of its control groups leave to it.

    A quota that is no whole number of cores is rounded up.

    Args:
        proc: the folder in which Linux describes this process.
    """
    machine = os.cpu_count() or 1
    limits: list[tuple[int, str]] = []
    if hasattr(os, "sched_getaffinity"):
        limits.append((len(os.sched_getaffinity(0)), "the affinity of this process"))
    limits += [(max(1, math.ceil(quota)), f"the CPU quota {quota:g} in {file}") for quota, file in _quotas(proc)]
    usable, limit = min(limits, default=(machine, ""), key=lambda found: found[0])
    return Cores(usable, machine, limit) if usable < machine else Cores(machine, machine, None)


def _quotas(proc: Path) -> Iterator[tuple[float, Path]]:
    """Yield the CPU quotas of the control groups of this process, in cores, and the files that set them."""
    for mount, group in _control_groups(proc):
        for folder in (mount / group, *(mount / group).parents):
            for read in (_quota_of_version_2, _quota_of_version_1):
                with suppress(OSError, ValueError):
                    yield read(folder)
            if folder == mount:
                break


def _quota_of_version_2(group: Path) -> tuple[float, Path]:
    """Raise `ValueError` if a group has no quota, `OSError` if it has another version."""
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period), group / "cpu.max"


def _quota_of_version_1(group: Path) -> tuple[float, Path]:
    """Raise `ValueError` if a group has no quota, `OSError` if it has another version."""
    quota = int((group / "cpu.cfs_quota_us").read_text())
    if quota <= 0:
        raise ValueError("no quota")
    return quota / int((group / "cpu.cfs_period_us").read_text()), group / "cpu.cfs_quota_us"


def _control_groups(proc: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield where the hierarchies with CPU quotas are mounted, and the group of this process in each.

    See cgroups(7) and proc_pid_mountinfo(5).
    """
    try:
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return
    for mount in mounts:
        fields, _, source = mount.partition(" - ")
        _, _, _, root, folder, *_ = fields.split(" ")
        kind, _, options = source.split(" ", 2)
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if controller is None or (controller and controller not in options.split(",")):
            continue
        for _, controllers, group in groups:
            if controller in controllers.split(","):
                yield Path(_unescaped(folder)), _below(PurePosixPath(group), PurePosixPath(_unescaped(root)))


def _below(group: PurePosixPath, root: PurePosixPath) -> PurePosixPath:
    """Return the path of a group below the root of its mount; the mount itself if it is not below."""
    return group.relative_to(root) if group.is_relative_to(root) and ".." not in group.parts else PurePosixPath()


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)
