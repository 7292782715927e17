from datetime import UTC, datetime

import pytest

from classify.engines import retry

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 2026 12:00:09 GMT", 9.0),
        ("Thu, 01 Jan 2026 12:00:09 -0000", 9.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float | None):
    assert retry.retry_after(header, NOW) == seconds


def test_waits_grow_and_are_jittered_from_zero(monkeypatch: pytest.MonkeyPatch):
    ranges = []
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: ranges.append((low, high)) or high)
    assert [retry.wait(retries) for retries in (0, 1, 2, 3, 10, 5000)] == [0.5, 1, 2, 4, 30, 30]
    assert {low for low, _ in ranges} == {0}


def test_what_the_server_asks_for_is_the_least_and_bounded():
    assert 7 <= retry.wait(9, 7.0) <= 7.5
    assert retry.LONGEST_ASKED <= retry.wait(0, 1e9) <= retry.LONGEST_ASKED + 0.5


def test_which_statuses_may_pass():
    assert [status for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503) if retry.again(status)] == [
        408, 409, 429, 500, 503,
    ]  # fmt: skip
