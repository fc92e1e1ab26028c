import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.room_settings import DEFAULT_ROLES, checked
from roomledger_events.rooms import Media, Role, RoomSettings, View

BOTH = Media(audio=True, video=True)


def roles(*names: str) -> tuple[Role, ...]:
    return tuple(Role(role=name) for name in names)


def test_settings_without_roles_get_the_default_ones():
    assert [role.role for role in checked(RoomSettings(name="r")).roles] == [
        "presenter",
        "viewer",
        "audio_only_presenter",
        "video_only_viewer",
        "sip",
    ]


def test_a_presenter_publishes_and_subscribes_and_a_viewer_only_subscribes():
    presenter, viewer = DEFAULT_ROLES[:2]
    assert (presenter.publish, presenter.subscribe) == (BOTH, BOTH)
    assert (viewer.publish, viewer.subscribe) == (Media(), BOTH)


def test_a_new_room_has_no_limit():
    assert checked(RoomSettings(name="r")).participant_limit == -1


@pytest.mark.parametrize(
    "settings",
    [
        RoomSettings(name="n" * 256, participant_limit=2**31 - 1, roles=roles("r" * 64)),
        RoomSettings(name="n", participant_limit=-(2**31), roles=roles(*map(str, range(100)))),
        RoomSettings(name="n", roles=roles("r"), views=tuple(View(label=str(i)) for i in range(100))),
    ],
    ids=["longest names", "most roles", "most views"],
)
def test_settings_at_the_bounds_are_taken_as_they_are(settings: RoomSettings):
    assert checked(settings) == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RoomSettings(name=""), "a room's name has 1 to 256 characters, not 0"),
        (RoomSettings(name="n" * 257), "a room's name has 1 to 256 characters, not 257"),
        (RoomSettings(name="n", participant_limit=2**31), "a participant limit lies between"),
        (RoomSettings(name="n", participant_limit=-(2**31) - 1), "a participant limit lies between"),
        (RoomSettings(name="n", roles=roles(*map(str, range(101)))), "at most 100 roles, not 101"),
        (RoomSettings(name="n", roles=roles("")), "a role's name has 1 to 64 characters, not 0"),
        (RoomSettings(name="n", roles=roles("r" * 1_000_000)), "1 to 64 characters, not 1000000"),
        (RoomSettings(name="n", roles=roles("r", "r")), "two roles of a room have the same name"),
        (RoomSettings(name="n", views=(View(label="v"),) * 101), "at most 100 views, not 101"),
        (RoomSettings(name="n", views=(View(label=""),)), "a view's name has 1 to 64 characters, not 0"),
        (RoomSettings(name="n", views=(View(label="v"),) * 2), "two views of a room have the same name"),
    ],
)
def test_settings_out_of_bounds_are_refused_with_a_sentence(settings: RoomSettings, message: str):
    with pytest.raises(Refusal) as refused:
        checked(settings)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert message in str(refused.value)
