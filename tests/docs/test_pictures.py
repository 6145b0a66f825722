"""The pictures show what the code says."""

from __future__ import annotations

import pytest

from docs.pictures import badges
from docs.pictures.__main__ import PICTURES
from docs.pictures.svg import DARK, HERE, LIGHT, Theme
from waterdrop_py._engine.connection.states import STATUS_MOVES


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_up_to_date(name: str, theme: Theme) -> None:
    """A change of a state, a default or a script needs `make pictures`."""
    kept = (HERE / f"{name}-{theme.name}.svg").read_text()
    assert kept == PICTURES[name](theme).svg()


@pytest.mark.parametrize("name", badges.badges())
def test_badges_are_up_to_date(name: str) -> None:
    """A change of the Pythons or of the licence needs `make pictures`."""
    assert (HERE / f"{name}.svg").read_text() == badges.svg(*badges.badges()[name])


def test_the_states_have_an_arrow_for_each_move() -> None:
    """The picture of the states has as many arrows as the table has moves."""
    picture = (HERE / "states-light.svg").read_text()
    assert picture.count("<polygon") == sum(map(len, STATUS_MOVES.values()))
