import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from postprocess.processes import LEAST, shared_out

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")


def doubled(items):
    return [2 * item for item in items]


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2 * LEAST - 1, 3 * LEAST + 2])
def test_results_come_in_the_order_of_the_items(processes, count):
    items = list(range(count))
    assert shared_out(doubled, items, processes) == doubled(items)


@ONLY_LINUX
def test_each_process_does_a_share_where_there_is_much_to_do():
    def who(items):
        return [os.getpid()] * len(items)

    assert len(set(shared_out(who, range(2 * LEAST), 2))) == 2
    assert set(shared_out(who, range(2 * LEAST - 1), 2)) == {os.getpid()}


def _state(process):
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def elsewhere(act):
    """Return work that does `act` first, in another process than this one."""
    here = os.getpid()

    def work(items):
        if os.getpid() != here:
            act()
        return [(os.getpid() == here, 2 * item) for item in items]

    return work


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def failed():
    raise MemoryError


@ONLY_LINUX
@pytest.mark.parametrize("act", [killed, failed])
def test_what_another_process_did_not_do_is_done_here(act, capfd):
    items = range(2 * LEAST)
    assert shared_out(elsewhere(act), items, 2) == [(True, 2 * item) for item in items]
    assert capfd.readouterr().err == ""


@ONLY_LINUX
def test_what_another_process_told_in_part_is_done_here():
    here, ready = os.getpid(), multiprocessing.get_context("fork").SimpleQueue()

    def work(items):
        if os.getpid() != here:
            ready.put(os.getpid())
        elif items[0] == 0:
            child = ready.get()
            while _state(child) not in "SZ":  # until it waits for somebody to read
                time.sleep(0.01)
            os.kill(child, signal.SIGKILL)
        return [f"{item} " * 1000 for item in items]  # more than a pipe holds

    assert shared_out(work, range(2 * LEAST), 2) == [f"{item} " * 1000 for item in range(2 * LEAST)]


@ONLY_LINUX
def test_an_interrupt_is_for_the_process_that_waits():
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)

    done = shared_out(elsewhere(interrupted), range(2 * LEAST), 2)
    assert [here for here, _ in done] == [True, False] * LEAST


@ONLY_LINUX
def test_no_process_outlives_work_that_ends_early():
    here = os.getpid()

    def work(items):
        if os.getpid() != here:
            time.sleep(600)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared_out(work, range(2 * LEAST), 2)
    assert multiprocessing.active_children() == []


FOREVER = """
import os, sys
from postprocess.processes import LEAST, shared_out
here = os.getpid()
def work(items):
    if os.getpid() == here:
        sys.stdin.read()
    print(os.getpid(), flush=True)
    return [f"{item} " * 1000 for item in items]  # more than a pipe holds
shared_out(work, range(2 * LEAST), 2)
"""


@ONLY_LINUX
def test_no_process_outlives_one_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", FOREVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.kill()
        # The end of what it writes: the helper, which writes there as well, has ended, too.
        assert process.communicate(timeout=60)[0] == b""


@ONLY_LINUX
def test_where_no_process_is_to_be_had_all_is_done_here(monkeypatch):
    def none():
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", none)
    items = range(2 * LEAST)
    assert shared_out(doubled, items, 2) == doubled(items)


@ONLY_LINUX
def test_a_helper_has_no_helpers():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(shared_out, (doubled, range(2 * LEAST), 2)) == doubled(range(2 * LEAST))


@ONLY_LINUX
def test_an_error_of_the_work_is_raised_here(capfd):
    def wrong(items):
        raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        shared_out(wrong, range(2 * LEAST), 2)
    assert capfd.readouterr().err == ""
