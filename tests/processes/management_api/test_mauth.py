import asyncio
import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomledger.processes.management_api.mauth import WINDOW_MS, NotSigned, Replays, Signed, signature
from roomledger.settings import Settings
from tests.support.nats import NatsServer

KEY = "secret"
NOW = 1_700_000_000_000


def header(**changes: str | None) -> str:
    parameters = {
        "realm": "http://example.com",
        "mauth_signature_method": "HMAC_SHA256",
        "mauth_serviceid": "s1",
        "mauth_cnonce": "4711",
        "mauth_timestamp": str(NOW),
        "mauth_signature": signature(KEY, f"{NOW},4711"),
    }
    return ",".join(f"{name}={value}" for name, value in (parameters | changes).items() if value is not None)


def test_a_header_of_an_existing_client_is_good() -> None:
    signed = Signed.read(header())
    signed.check(KEY, NOW)
    assert (signed.service, signed.nonce) == ("s1", "4711")


def test_the_signature_is_base64_of_the_hexadecimal_hmac() -> None:
    digest = hmac.new(b"secret", b"1,2", hashlib.sha256).hexdigest()
    assert signature(KEY, "1,2") == base64.b64encode(digest.encode()).decode()


def test_user_and_role_are_signed_where_both_are_there() -> None:
    by = {"mauth_username": "ada", "mauth_role": "presenter"}
    Signed.read(header(**by, mauth_signature=signature(KEY, f"{NOW},4711,ada,presenter"))).check(KEY, NOW)


def test_a_user_without_a_role_is_not_signed() -> None:
    Signed.read(header(mauth_username="ada")).check(KEY, NOW)


def test_a_signature_over_something_else_is_refused() -> None:
    with pytest.raises(NotSigned, match="wrong"):
        Signed.read(header(mauth_cnonce="4712")).check(KEY, NOW)


def test_a_signature_by_another_key_is_refused() -> None:
    with pytest.raises(NotSigned, match="wrong"):
        Signed.read(header()).check("another", NOW)


@pytest.mark.parametrize("away", [WINDOW_MS + 1, -WINDOW_MS - 1])
def test_a_time_outside_of_the_window_is_refused(away: int) -> None:
    with pytest.raises(NotSigned, match="away"):
        Signed.read(header()).check(KEY, NOW + away)


@pytest.mark.parametrize("away", [WINDOW_MS, -WINDOW_MS])
def test_a_time_inside_of_the_window_is_good(away: int) -> None:
    Signed.read(header()).check(KEY, NOW + away)


@pytest.mark.parametrize(
    "name",
    ["mauth_signature_method", "mauth_serviceid", "mauth_cnonce", "mauth_timestamp", "mauth_signature"],
)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(NotSigned, match=name):
        Signed.read(header(**{name: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"mauth_signature_method": "HMAC_MD5"},
        {"mauth_timestamp": "soon"},
        {"mauth_timestamp": "9" * 20},
        {"mauth_timestamp": "-1"},
        {"mauth_cnonce": "1,mauth_cnonce=2"},
    ],
)
def test_other_forms_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(NotSigned):
        Signed.read(header(**changes))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotSigned):
        Signed.read(text)


async def test_a_header_is_good_once(nats_server: NatsServer) -> None:
    replays = Replays(await nats_server.connect(), Settings())
    await replays.accept(Signed.read(header()))
    with pytest.raises(NotSigned, match="used"):
        await replays.accept(Signed.read(header()))


async def test_a_header_that_another_process_has_seen_is_used(nats_server: NatsServer) -> None:
    await Replays(await nats_server.connect(), Settings()).accept(Signed.read(header()))
    with pytest.raises(NotSigned, match="used"):
        await Replays(await nats_server.connect(), Settings()).accept(Signed.read(header()))


async def test_of_many_that_show_a_header_at_once_one_is_let_in(nats_server: NatsServer) -> None:
    processes = [Replays(await nats_server.connect(), Settings()) for _ in range(4)]
    shown = [each.accept(Signed.read(header())) for each in processes for _ in range(4)]
    answers = await asyncio.gather(*shown, return_exceptions=True)
    assert answers.count(None) == 1
    assert sum(isinstance(answer, NotSigned) for answer in answers) == 15


async def test_a_header_is_remembered_for_as_long_as_it_could_be_good_and_no_longer(
    nats_server: NatsServer,
) -> None:
    broker = await nats_server.connect()
    await Replays(broker, Settings()).accept(Signed.read(header()))
    kept = await broker.jetstream().stream_info("KV_ROOMLEDGER_NONCES")
    # Signed by a clock that is ahead it is good until one window after its own time.
    assert kept.config.max_age == 2 * WINDOW_MS / 1000


async def test_a_note_that_was_not_answered_in_time_and_is_made_again_is_no_second_use(
    nats_server: NatsServer,
) -> None:
    replays = Replays(await nats_server.connect(), Settings())
    await replays.accept(Signed.read(header(mauth_cnonce="1")))
    nats_server.pause()
    accepting = asyncio.create_task(replays.accept(Signed.read(header())))
    await asyncio.sleep(2.5)  # longer than one attempt: it is sent again, and the server finds both
    nats_server.resume()
    await accepting
    with pytest.raises(NotSigned, match="used"):
        await replays.accept(Signed.read(header()))


async def test_the_same_nonce_at_another_time_or_by_another_service_is_good(nats_server: NatsServer) -> None:
    replays = Replays(await nats_server.connect(), Settings())
    await replays.accept(Signed.read(header()))
    await replays.accept(Signed.read(header(mauth_timestamp=str(NOW + 1))))
    await replays.accept(Signed.read(header(mauth_serviceid="s2")))
