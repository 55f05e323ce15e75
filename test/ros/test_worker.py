"""The worker: newest wins, nothing is lost unseen, and no item ends the stream."""

from __future__ import annotations

import threading

from fusion_ros.ros.statistics import Rate, Statistics
from fusion_ros.ros.worker import LatestMailbox, Worker


def test_a_newer_item_replaces_the_one_that_was_not_taken():
    mailbox = LatestMailbox()
    assert mailbox.put(1) is None
    assert mailbox.put(2) == 1
    assert mailbox.take() == 2
    assert mailbox.put(3) is None
    assert mailbox.close() == 3
    assert mailbox.take() is None


def test_every_item_is_handled_or_handed_back():
    gate, handled, replaced = threading.Event(), [], []

    def handle(item):
        gate.wait(5)
        handled.append(item)

    worker = Worker(handle, lambda item, error: None)
    for item in range(100):
        back = worker.submit(item)
        if back is not None:
            replaced.append(back)
    gate.set()
    left = worker.stop()
    everything = handled + replaced + ([left] if left is not None else [])
    assert sorted(everything) == list(range(100))


def test_a_failing_item_is_reported_and_the_next_one_handled():
    done, failed = threading.Event(), []

    def handle(item):
        if item == "bad":
            raise ValueError("no good")
        done.set()

    worker = Worker(handle, lambda item, error: failed.append((item, str(error))) or reported.set())
    reported = threading.Event()
    worker.submit("bad")
    assert reported.wait(5)
    worker.submit("good")
    assert done.wait(5)
    worker.stop()
    assert failed == [("bad", "no good")]


def test_a_rate_is_events_per_second_and_falls_when_they_stop():
    now = [0.0]
    rate = Rate(horizon_s=3.0, clock=lambda: now[0])
    for i in range(31):
        now[0] = i / 10
        rate.tick()
    assert abs(rate.value() - 10) < 1e-6
    now[0] += 1.0
    assert abs(rate.value() - 1.0) < 1e-6
    now[0] += 10.0
    assert rate.value() == 0.0


def test_a_problem_is_news_only_once_but_counted_always():
    statistics = Statistics()
    assert statistics.problem("image", "step 3")
    assert not statistics.problem("image", "step 4")
    assert statistics.problems()["image"][:2] == (2, "step 4")
