"""Several at once: every item, every failure in its place, no more threads than there may be."""

from __future__ import annotations

import _thread
import threading
import time

import pytest

from dvdcli import parallel


def test_each_item_once_and_failures_in_their_place():
    seen = []

    def one(item):
        seen.append(item)
        if item % 2:
            raise ValueError(item)

    failures = parallel.each(one, range(40))
    assert sorted(seen) == list(range(40))
    assert [str(failure) if failure else None for failure in failures] == [str(i) if i % 2 else None for i in range(40)]


def test_nothing_at_all():
    assert parallel.each(lambda item: None, []) == []


def test_one_item_needs_no_thread(monkeypatch):
    def refuse(*args):
        raise AssertionError

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    where = []
    assert parallel.each(lambda item: where.append(threading.get_ident()), [1]) == [None]
    assert where == [threading.get_ident()]


def test_they_run_at_the_same_time():
    barrier = threading.Barrier(9)
    assert parallel.each(lambda item: barrier.wait(30) and None, range(9)) == [None] * 9


def test_but_not_more_than_there_may_be():
    now, most, lock, barrier = [0], [0], threading.Lock(), threading.Barrier(parallel.MOST)

    def one(item):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if item < parallel.MOST:
            barrier.wait(60)
            time.sleep(0.05)  # for one too many to come, if there were one
        with lock:
            now[0] -= 1

    assert parallel.each(one, range(50)) == [None] * 50
    assert most[0] == parallel.MOST


@pytest.mark.parametrize("possible", [0, 2])
def test_where_no_more_threads_can_be_had_fewer_do_it(monkeypatch, possible):
    started, real = [], _thread.start_new_thread

    def limited(function, args):
        if len(started) >= possible:
            raise RuntimeError("can't start new thread")
        started.append(real(function, args))

    monkeypatch.setattr(_thread, "start_new_thread", limited)
    seen = []
    parallel.each(seen.append, range(20))
    assert sorted(seen) == list(range(20))
