"""The usable cores are those that affinity and the CPU quotas of control groups leave."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval import cores as module
from retrieval.cores import find_cores, usable_cores

FIND = "from retrieval.cores import find_cores; found = find_cores(); print(found.usable, found.machine, found.limit)"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores, all of which the process may use."""
    monkeypatch.setattr(module.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(64)))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The description of a process in a control group of version 2, as Linux writes it in a container."""
    describe(tmp_path, "0::/\n", f"30 23 0:26 / {escaped(tmp_path / 'sys fs')} ro,nosuid - cgroup2 cgroup rw")
    return tmp_path


def describe(proc: Path, groups: str, *mounts: str) -> None:
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text("\n".join(("22 1 254:0 / / rw - ext4 /dev/vda rw", *mounts)) + "\n")


def escaped(path: Path) -> str:
    return str(path).replace(" ", "\\040")


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_without_limits_all_cores_are_usable(proc: Path, tmp_path: Path) -> None:
    assert (find_cores(proc).usable, find_cores(proc).limit) == (64, None)
    write(proc / "sys fs" / "cpu.max", "max 100000\n")
    assert (find_cores(proc).usable, find_cores(proc).limit) == (64, None)
    assert find_cores(tmp_path / "not Linux").usable == 64


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)])
def test_a_quota_of_version_2_limits_the_cores(proc: Path, quota: str, cores: int) -> None:
    file = write(proc / "sys fs" / "cpu.max", f"{quota}\n")
    found = find_cores(proc)
    assert (found.usable, found.machine) == (cores, 64)
    assert found.limit.endswith(f"in {file}")


def test_the_lowest_quota_of_the_groups_above_counts(proc: Path, tmp_path: Path) -> None:
    describe(proc, "0::/a/b\n", f"30 23 0:26 / {tmp_path}/cg rw - cgroup2 cgroup rw")
    lowest = write(tmp_path / "cg" / "a" / "cpu.max", "300000 100000\n")
    write(tmp_path / "cg" / "a" / "b" / "cpu.max", "max 100000\n")
    write(tmp_path / "cg" / "cpu.max", "800000 100000\n")
    assert find_cores(proc).usable == 3
    assert str(lowest) in find_cores(proc).limit


@pytest.mark.parametrize(("root", "inside"), [("/", "docker/abc"), ("/docker/abc", "")])
def test_a_quota_of_version_1_limits_the_cores(tmp_path: Path, root: str, inside: str) -> None:
    mount = tmp_path / "cpu"
    describe(
        tmp_path,
        "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        f"33 31 0:30 {root} {mount} rw - cgroup cgroup rw,cpu,cpuacct",
        f"34 31 0:31 {root} {tmp_path / 'memory'} rw - cgroup cgroup rw,memory",
    )
    quota = write(mount / inside / "cpu.cfs_quota_us", "400000\n")
    write(mount / inside / "cpu.cfs_period_us", "100000\n")
    assert find_cores(tmp_path).usable == 4
    assert str(quota) in find_cores(tmp_path).limit
    quota.write_text("-1\n")
    assert find_cores(tmp_path).usable == 64


def test_the_affinity_limits_the_cores(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 5})
    assert (find_cores(proc).usable, find_cores(proc).limit) == (2, "the affinity of this process")


@pytest.fixture(params=["cpu/cpu.cfs_quota_us", "./cpu.max"], ids=["version 1", "version 2"])
def real_group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A control group of this machine with a quota of one core."""
    hierarchy, file = request.param.split("/")
    group = Path("/sys/fs/cgroup", hierarchy, f"lookalike-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error.strerror})")
    try:
        if not (group / file).exists():
            pytest.skip("this version of control groups has no CPU quotas here")
        (group / file).write_text("100000")
        yield group
    finally:
        group.rmdir()


def test_a_real_quota_is_found(real_group: Path) -> None:
    command = f"open('{real_group}/cgroup.procs', 'w').write('0'); {FIND}"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "1"
    assert found[1] == "1" or real_group.name in found[-1]


def test_some_core_is_always_usable() -> None:
    assert usable_cores() >= 1
