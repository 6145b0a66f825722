"""When something that repeats itself is said, and that no count is lost."""

from __future__ import annotations

from waterdrop_py._engine.logs.repeats import MOST, Repeats


def told(repeats: Repeats[str], moments: list[float], key: str = "k") -> int:
    """How many occurrences are said, counted, or held back at the end."""
    said = 0
    for now in moments:
        more = repeats.offer(key, now, lambda: "held")
        if more is not None:
            said += 1 + more
        said += sum(1 + more for _, more in repeats.due(now))
    return said + sum(1 + more for _, more in repeats.due(9e9, everything=True))


def test_the_first_is_said_and_the_others_are_counted() -> None:
    """Within the first second one is said; the next line has the count of the rest."""
    repeats: Repeats[str] = Repeats(1.0, 600.0)
    assert repeats.offer("k", 10.0, str) == 0
    for n in range(41):
        assert repeats.offer("k", 10.0 + n / 100, str) is None
    assert repeats.offer("k", 11.0, str) == 41


def test_a_count_is_said_when_nothing_follows() -> None:
    """The first that was held back stands for those behind it, once it is due."""
    repeats: Repeats[int] = Repeats(1.0, 600.0)
    repeats.offer("k", 10.0, lambda: 0)
    for n in range(1, 6):
        repeats.offer("k", 10.5, lambda n=n: n)  # type: ignore[misc]
    assert repeats.due(10.9) == []
    assert repeats.due_within(10.9, 0.2)
    assert repeats.due(11.0) == [(1, 4)]
    assert repeats.due(99.0) == []
    assert not repeats.due_within(99.0, 1_000)


def test_what_goes_on_is_said_at_growing_distances() -> None:
    """An hour of failures, three a second, is less than twenty lines, all counted."""
    repeats: Repeats[str] = Repeats(1.0, 600.0)
    lines = total = 0
    for n in range(3 * 3600):
        more = repeats.offer("k", 10.0 + n / 3, str)
        due = repeats.due(10.0 + n / 3)
        lines += (more is not None) + len(due)
        total += 0 if more is None else 1 + more
        total += sum(1 + more for _, more in due)
    total += sum(1 + more for _, more in repeats.due(9e9, everything=True))
    assert lines < 20
    assert total == 3 * 3600


def test_after_quiet_it_is_said_at_once_again() -> None:
    """A minute without any brings the distance back to the first one."""
    repeats: Repeats[str] = Repeats(1.0, 600.0)
    for n in range(100):
        repeats.offer("k", 10.0 + n, str)
    repeats.due(10.0 + 100, everything=True)
    at = 10.0 + 1000
    assert repeats.offer("k", at, str) is not None
    assert repeats.offer("k", at + 1.0, str) is not None


def test_news_does_not_wait_for_a_grown_distance() -> None:
    """What was not said yet is due a second after the last line, no earlier."""
    repeats: Repeats[str] = Repeats(1.0, 600.0)
    assert repeats.offer("k", 10.0, str) is not None
    assert repeats.offer("k", 11.0, str) is not None
    assert repeats.offer("k", 11.5, str, news=True) is None
    assert repeats.offer("k", 12.1, str) is None
    assert repeats.offer("k", 12.2, str, news=True) == 2


def test_keys_are_apart_and_not_kept_for_ever() -> None:
    """Each key has its own distance; the oldest with nothing held is forgotten."""
    repeats: Repeats[str] = Repeats(10.0, 600.0)
    for n in range(3 * MOST):
        assert repeats.offer(n, 10.0, str) == 0
    assert len(repeats._series) == MOST  # noqa: SLF001


def test_a_right_that_was_lost_comes_back() -> None:
    """A signal handler that raises behind the pop of a right does not silence a key."""
    repeats: Repeats[str] = Repeats(1.0, 600.0)
    repeats.offer("k", 10.0, str)
    repeats._series["k"].right.clear()  # noqa: SLF001
    assert repeats.offer("k", 11.0, lambda: "x") is None
    found = [each for now in (12.0, 13.0, 14.0) for each in repeats.due(now)]
    assert sum(1 + more for _, more in found) == 1
    assert repeats.offer("k", 30.0, str) == 0


def test_no_occurrence_is_lost() -> None:
    """However they are spread, each is said or counted."""
    spread = [[10.0 + n * step for n in range(50)] for step in (0.0, 0.1, 0.9, 7, 70)]
    for moments in spread:
        assert told(Repeats(1.0, 600.0), moments) == 50
