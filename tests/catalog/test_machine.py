import os
import subprocess

import pytest

from catalog import machine

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         100 kB\nMemAvailable:    8000000 kB\n"


@pytest.fixture
def linux(tmp_path):
    """Make a root that holds what the kernel tells: of memory, and of the limits of control groups."""

    def make(groups: str, files: dict[str, str]):
        for name, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": groups, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_without_limits_the_machine_is_ones_own(linux) -> None:
    root = linux("0::/\n", {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert machine.memory(root) == (16_000_000 * 1024, 8_000_000 * 1024)
    assert machine.cores(root) == len(os.sched_getaffinity(0))


def test_a_containers_limits_count_with_what_its_files_cache(linux) -> None:
    group = "sys/fs/cgroup/box/"
    files = {
        group + "memory.max": "4000000000\n",
        group + "memory.current": "3000000000\n",
        group + "memory.stat": "anon 1\ninactive_file 500000000\n",
        group + "cpu.max": "50000 100000\n",
    }
    root = linux("0::/box/inner\n", files)
    assert machine.memory(root) == (4e9, 1.5e9)
    assert machine.cores(root) == 0.5


def test_version_1_of_control_groups(linux) -> None:
    files = {
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1500000000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    root = linux("4:memory:/box\n1:cpu,cpuacct:/\n", files)
    assert machine.memory(root) == (2e9, 0.5e9)
    assert machine.cores(root) == len(os.sched_getaffinity(0))


def test_elsewhere_than_on_linux_all_memory_is_told(tmp_path) -> None:
    total, free = machine.memory(tmp_path)
    assert total == free > 0


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Have an nvidia-smi that runs these lines."""

    def make(lines: str) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


def test_gpus(tool) -> None:
    tool("echo 'NVIDIA L4, 23034, 550.54'; echo 'NVIDIA L4, 23034, 550.54'")
    assert machine.gpus() == [machine.Gpu("NVIDIA L4", 23034 * 2**20, "550.54")] * 2


@pytest.mark.parametrize("lines", ["exit 9", "echo 'no devices were found'"])
def test_a_driver_that_does_not_answer_is_no_gpu(tool, lines: str) -> None:
    tool(lines)
    assert machine.gpus() == []


def test_a_driver_that_hangs_is_no_gpu(monkeypatch) -> None:
    def hang(*arguments, timeout, **more):
        raise subprocess.TimeoutExpired("nvidia-smi", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert machine.gpus() == []
