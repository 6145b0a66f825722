"""Which series a producer's figures belong to, and the arguments that decide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import InvalidArgumentError


class Series(NamedTuple):
    """What the figures of several producers are added up under.

    Attributes:
        producer: the id of a producer, or the name of a pool, if the user gave it one.
            Empty for all others, of which there may be any number.
        tags: the values of the listener's `tag_labels`, in their order; a tag that the
            producer does not have is empty.
    """

    producer: str
    tags: tuple[str, ...]


def series_of(
    given_id: str | None, tags: Mapping[str, str], tag_labels: Iterable[str]
) -> Series:
    """The series of a producer with that `given_id` and those `tags`."""
    return Series(given_id or "", tuple(tags.get(name, "") for name in tag_labels))


def checked_tag_labels(given: Iterable[str]) -> tuple[str, ...]:
    """The names of the tags that become labels.

    Raises:
        InvalidArgumentError: `given` is not an iterable of different non-empty str.
    """
    legal = "an iterable of names of tags, each once"
    value: Any = given
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidArgumentError(f"tag_labels: must be {legal}, got {shown(value)}")
    names = tuple(value)
    for name in names:
        if not isinstance(name, str) or not name or names.count(name) > 1:
            raise InvalidArgumentError(
                f"tag_labels: must be {legal}, got {shown(name)} in {shown(names)}"
            )
    return names
