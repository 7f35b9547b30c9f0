"""What is measured once for all students, and how many threads measure it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from probes.compute import memoize, threads
from probes.compute.threads import one_thread
from probes.registry import PROBES


@pytest.fixture(autouse=True)
def _empty_memory():
    memoize.forget()
    yield
    memoize.forget()


@pytest.mark.parametrize("name", ["transfer", "separability", "drift"])
def test_a_remembered_teacher_gives_the_same_numbers(name, make_pair):
    student, teacher, weights = make_pair()

    fresh = PROBES[name].function(student, teacher, class_weights=weights)
    again = PROBES[name].function(student, teacher, class_weights=weights)

    assert fresh.to_dict() == again.to_dict()
    for key, array in fresh.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[key])


def test_another_teacher_is_measured_anew(make_pair, make_table):
    student, teacher, weights = make_pair()
    turned = make_table(teacher.embeddings[:, ::-1].copy(), teacher.labels, teacher.domain == "synthetic", "teacher")

    first, second = (PROBES["transfer"].function(student, each, class_weights=weights).scores for each in (teacher, turned))

    assert first["teacher/zero_shot/real"].value != second["teacher/zero_shot/real"].value


def test_what_a_result_hands_out_does_not_reach_the_memory(make_pair):
    student, teacher, weights = make_pair()
    first = PROBES["transfer"].function(student, teacher, class_weights=weights)

    first.arrays["teacher/correct"][:] = False

    assert PROBES["transfer"].function(student, teacher, class_weights=weights).arrays["teacher/correct"].any()


def test_the_memory_makes_once_and_is_bounded():
    made = []

    for number in list(range(memoize.ENTRIES + 5)) * 2:
        memoize.remembered(str(number % (memoize.ENTRIES + 5)), lambda number=number: made.append(number))
    memoize.remembered("4", lambda: made.append("again"))
    memoize.remembered("4", lambda: made.append("never"))

    assert len(memoize._memory) == memoize.ENTRIES
    assert "never" not in made


def test_a_failure_is_not_remembered():
    with pytest.raises(ZeroDivisionError):
        memoize.remembered("key", lambda: 1 / 0)

    assert memoize.remembered("key", lambda: 7) == 7


def test_the_key_is_of_content_and_not_of_names(make_pair, make_table):
    student, _, _ = make_pair()
    renamed = make_table(student.embeddings, student.labels, student.domain == "synthetic", "other", normalize=False)

    assert memoize.content(student, 1) == memoize.content(renamed, 1)
    assert memoize.content(student, 1) != memoize.content(student, 2)
    assert memoize.content(np.zeros(4)) != memoize.content(np.zeros((2, 2)))
    assert memoize.content(np.zeros(4)) != memoize.content(np.zeros(4, dtype=np.float32))
    assert memoize.content(student) != memoize.content(student.select(np.arange(199)))


def test_linear_algebra_runs_on_one_thread_and_gets_its_threads_back():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=2):
        before = threads()
        inside = one_thread(threads)()
        with pytest.raises(ZeroDivisionError):
            one_thread(lambda: 1 / 0)()
        after = threads()

    assert inside == {1}
    assert before == after


def test_one_thread_holds_in_threads_whoever_set_limits_before():
    def blas():
        return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    both = threading.Barrier(2, timeout=30)

    @one_thread
    def inside():
        both.wait()
        found = [pool["num_threads"] for pool in threadpool_info()]
        both.wait()
        return found

    one_thread(lambda: None)()
    limits = threadpool_limits(limits=2)  # set by this thread and not given up, as a script may
    try:
        before = blas()
        with ThreadPoolExecutor(2) as pool:
            found = [each.result() for each in [pool.submit(inside) for _ in range(2)]]
        after = blas()
    finally:
        limits.restore_original_limits()
    assert all(set(each) == {1} for each in found)
    assert after == before


@pytest.mark.parametrize("many", [1, 4])
def test_side_by_side_keeps_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(threads, "cores", lambda: many)
    waits = [0.05, 0.0, 0.02, 0.0, 0.01]

    assert threads.side_by_side(lambda item: (time.sleep(waits[item]), item)[1], range(5)) == [0, 1, 2, 3, 4]
    assert threads.side_by_side(str, []) == []


def test_side_by_side_really_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    together = threading.Barrier(3, timeout=30)  # breaks where one waits for another to end

    assert threads.side_by_side(lambda item: together.wait() >= 0, range(3)) == [True] * 3


def test_an_error_begins_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.02)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        threads.side_by_side(work, range(100))
    assert len(begun) < 10


def test_one_thread_at_a_time_is_let_in() -> None:
    inside: list[int] = []
    most: list[int] = []

    @threads.one_at_a_time
    def count(item: int) -> None:
        inside.append(item)
        most.append(len(inside))
        time.sleep(0.005)
        inside.remove(item)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))
    assert most == [1] * 20
