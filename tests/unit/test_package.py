"""The names of the package."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import waterdrop_py


def test_everything_named_is_there() -> None:
    """Each name in `__all__` exists, and the version too."""
    for name in waterdrop_py.__all__:
        assert getattr(waterdrop_py, name) is not None
    assert waterdrop_py.__version__ == version("waterdrop-py")


def test_another_name_is_an_attribute_error() -> None:
    """An unknown name is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Consumer'"):
        waterdrop_py.Consumer  # type: ignore[attr-defined] # noqa: B018
