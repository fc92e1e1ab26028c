"""What can be set of a room: the roles it begins with, and what is refused."""

from collections.abc import Sequence
from typing import Final

import msgspec

from roomledger.domain.errors import Code, Refusal
from roomledger_events.rooms import Media, Role, RoomSettings

_BOTH: Final = Media(audio=True, video=True)
_AUDIO: Final = Media(audio=True)
_VIDEO: Final = Media(video=True)
_NONE: Final = Media()

DEFAULT_ROLES: Final = (
    Role(role="presenter", publish=_BOTH, subscribe=_BOTH),
    Role(role="viewer", publish=_NONE, subscribe=_BOTH),
    Role(role="audio_only_presenter", publish=_AUDIO, subscribe=_AUDIO),
    Role(role="video_only_viewer", publish=_NONE, subscribe=_VIDEO),
    Role(role="sip", publish=_BOTH, subscribe=_BOTH),
)
"""The roles of a room that names none."""

MAX_ROLES: Final = 100
MAX_VIEWS: Final = 100
MAX_NAME: Final = 256
"""The longest name of a room, in characters."""
MAX_LABEL: Final = 64
"""The longest name of a role or of a view, in characters."""
LIMITS: Final = range(-(2**31), 2**31)
"""What a participant limit may be; 0 or less means no limit."""


def checked(settings: RoomSettings) -> RoomSettings:
    """Return the settings as a room takes them, with the default roles where they name none.

    Raises:
        Refusal: They are out of bounds (`INVALID_ARGUMENT`).
    """
    if not 1 <= len(settings.name) <= MAX_NAME:
        raise _invalid(f"a room's name has 1 to {MAX_NAME} characters, not {len(settings.name)}")
    if settings.participant_limit not in LIMITS:
        raise _invalid(f"a participant limit lies between {LIMITS[0]} and {LIMITS[-1]}")
    _check_labels("role", [role.role for role in settings.roles], MAX_ROLES)
    _check_labels("view", [view.label for view in settings.views], MAX_VIEWS)
    return settings if settings.roles else msgspec.structs.replace(settings, roles=DEFAULT_ROLES)


def _check_labels(what: str, labels: Sequence[str], most: int) -> None:
    if len(labels) > most:
        raise _invalid(f"a room has at most {most} {what}s, not {len(labels)}")
    for label in labels:
        if not 1 <= len(label) <= MAX_LABEL:
            raise _invalid(f"a {what}'s name has 1 to {MAX_LABEL} characters, not {len(label)}")
    if len(set(labels)) < len(labels):
        raise _invalid(f"two {what}s of a room have the same name")


def _invalid(message: str) -> Refusal:
    return Refusal(Code.INVALID_ARGUMENT, message)
