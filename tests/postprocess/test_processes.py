import os
import signal
import sys

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


@ONLY_LINUX
@pytest.mark.parametrize("way", ["killed", "failed"])
def test_what_another_process_did_not_do_is_done_here(way):
    here = os.getpid()

    def fragile(items):
        if os.getpid() != here:
            if way == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError
        return doubled(items)

    items = list(range(2 * LEAST))
    assert shared_out(fragile, items, 2) == doubled(items)


@ONLY_LINUX
def test_an_error_of_the_work_is_raised_here(capfd):
    def wrong(items):
        raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        shared_out(wrong, range(2 * LEAST), 2)
    assert capfd.readouterr().err == ""
