"""The table of options: order of errors, text that has no encoding, own exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from waterdrop_py import Config
from waterdrop_py.errors import ConfigurationInvalidError

KAFKA = {"bootstrap.servers": "broker:9092"}
SURROGATE = "a\udc80"


def errors_of(options: dict[str, Any]) -> dict[str, str]:
    """The errors of these options."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config(**options)
    return invalid.value.errors


def test_errors_are_in_the_order_of_the_table() -> None:
    """A missing `kafka` comes first, unknown names last, as the user wrote them."""
    wrong = {"zzz": 1, "deliver": 5, "aaa": 1, "id": ""}
    assert list(errors_of(wrong)) == ["kafka", "id", "deliver", "zzz", "aaa"]
    bad = {**wrong, "kafka": {"acks": [], "linger.ms": b""}}
    assert list(errors_of(bad))[:3] == ["kafka.acks", "kafka.linger.ms", "id"]


def test_options_are_in_the_order_of_the_table() -> None:
    """The repr does not depend on the order in which the options were given."""
    one = Config(deliver=False, id="orders", kafka=KAFKA)
    other = Config(kafka=KAFKA, id="orders", deliver=False)
    assert repr(one) == repr(other)
    assert list(vars(one)) == ["kafka", "id", "deliver"]


def test_text_with_a_lone_surrogate() -> None:
    """An id that no log could encode is refused; an unknown name of it is unknown."""
    assert errors_of({"kafka": KAFKA, "id": SURROGATE}) == {
        "id": r"must be a non-empty str, or None, got 'a\udc80'"
    }
    assert "unknown option" in errors_of({"kafka": KAFKA, SURROGATE: 1})[SURROGATE]


@pytest.mark.parametrize("tags", [{"a": SURROGATE}, {SURROGATE: "a"}])
def test_tags_with_a_lone_surrogate(tags: dict[str, str]) -> None:
    """A tag that no log or URL could encode is refused."""
    assert "valid Unicode" in errors_of({"kafka": KAFKA, "tags": tags})["tags"]


def test_what_a_mapping_of_the_user_raises_is_raised() -> None:
    """An exception of the user's code is raised as it is, a ValueError too."""
    error = ValueError("mine")

    class Broken(Mapping[str, str]):
        def __getitem__(self, name: str) -> str:
            raise error

        def __iter__(self) -> Iterator[str]:
            return iter(["a"])

        def __len__(self) -> int:
            return 1

    for options in ({"kafka": Broken()}, {"kafka": KAFKA, "tags": Broken()}):
        with pytest.raises(ValueError, match="mine") as caught:
            Config(**options)
        assert caught.value is error
