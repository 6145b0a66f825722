"""The errors of a pool that has no lease to give, and what their checklist says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._settings.pool_options import LARGEST_SIZE
from waterdrop_py._settings.redact import shown
from waterdrop_py.errors import (
    PoolClosedError,
    PoolError,
    PoolExhaustedError,
    PoolTimeoutError,
    TooManyRequestsError,
)
from waterdrop_py.pools._owners import TaskOwner

if TYPE_CHECKING:
    from waterdrop_py.pools._members import Members
    from waterdrop_py.pools._owners import Owner
    from waterdrop_py.pools._settings import PoolSettings
    from waterdrop_py.pools._slot import Holding
    from waterdrop_py.typing import LeaseHolder

LONGEST: Final = 3
"""How many of the longest holders the text names."""


def closed_error(name: str) -> PoolClosedError:
    """The error of every verb of a closed pool."""
    return PoolClosedError(
        f"pool {name!r} is closed; nothing was sent. If it is of a group, look it up "
        "again: group[config]"
    )


def error_of(
    members: Members,
    holding: Holding,
    bound: float,
    waited: float,
    *,
    waiting: int,
    full: bool,
) -> PoolError:
    """Why there is no lease after `waited` of at most `bound` seconds.

    `waiting` callers wait. `full`: as many as may.
    """
    settings = members.settings
    if members.closed:
        return closed_error(settings.name)
    holdings = members.holdings()
    about = _about(members, holdings, waiting, waited)
    if members.lost is not None:
        return _lost_error(members, about)
    out = f"{len(holdings)} of {settings.size * settings.client_limit} leases are out"
    head = f"pool {settings.name!r} has no free producer"
    advice = _advice(settings, full=full) + _longest(about["holders"])
    if any(each.owner == holding.owner for each in holdings):
        advice.append(_nested(holding.owner))
    if full:
        return TooManyRequestsError(
            f"{head}, and as many callers wait as max_waiting allows, which is "
            f"{settings.max_waiting}: {out}",
            checklist=advice,
            **about,
        )
    if bound > 0:
        return PoolTimeoutError(
            f"{head} within {bound:.3g} s: {out}", checklist=advice, **about
        )
    return PoolExhaustedError(f"{head}: {out}", checklist=advice, **about)


def lost_error(members: Members) -> PoolExhaustedError:
    """The error of a pool with no slot in service."""
    return _lost_error(members, _about(members, members.holdings(), 0, 0.0))


def busy_error(members: Members, what: str, waited: float) -> PoolTimeoutError:
    """The error of a call that has waited in vain for another one."""
    text = f"pool {members.settings.name!r} {what}"
    return PoolTimeoutError(text, **_about(members, members.holdings(), 0, waited))


def _about(
    members: Members, holdings: list[Holding], waiting: int, waited: float
) -> dict[str, Any]:
    return {
        "pool": members.settings.name,
        "size": members.settings.size,
        "leased": len(holdings),
        "waiting": waiting,
        "waited_ms": waited * 1000,
        "holders": [each.shown() for each in holdings],
    }


def _lost_error(members: Members, about: dict[str, Any]) -> PoolExhaustedError:
    error = PoolExhaustedError(_out_of_service(members), retriable=False, **about)
    error.__cause__ = members.lost
    return error


def _out_of_service(members: Members) -> str:
    settings, slots = members.settings, members.present
    ids = [settings.transactional_id_of(slot.index) for slot in slots]
    named = ", ".join(shown(each) for each in ids[:LONGEST] if each is not None)
    more = f" and {len(ids) - LONGEST} more" if len(ids) > LONGEST else ""
    which = f"; another process uses {named}{more}" if named else ""
    return (
        f"pool {settings.name!r} has no slot in service, because each one's producer "
        f"met a fatal error that is not reloaded{which}: give each process ids of its "
        "own, then reload() the pool"
    )


def _advice(settings: PoolSettings, *, full: bool) -> list[str]:
    """The options to raise, where that is legal, with their values."""
    advice = []
    if full:
        advice.append(f"raise max_waiting, which is {settings.max_waiting}")
    if settings.size < LARGEST_SIZE:
        advice.append(f"raise size, which is {settings.size}")
    if not settings.is_transactional:
        advice.append(
            f"raise client_limit, which is {settings.client_limit}, where leases may "
            "share a producer"
        )
    return advice


def _longest(holders: list[LeaseHolder]) -> list[str]:
    return [
        f"slot {each.slot} has been on lease for {each.held_ms / 1000:.3g} s: "
        f"{each.owner} took it at {each.where}"
        for each in holders[:LONGEST]
    ]


def _nested(owner: Owner) -> str:
    many = "tasks" if isinstance(owner, TaskOwner) else "threads"
    return (
        f"{owner.name} holds a lease of this pool itself: nested leases may wait for "
        f"each other; t {many} that each hold k leases need size >= t * (k - 1) + 1"
    )
