"""A portal on a real nats-server: logins, rooms, and what stays behind."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from roomledger.domain.errors import Code, Refusal
from roomledger.domain.signed_token import Claims, sign
from roomledger.processes.portal import entrance
from roomledger.processes.portal.errors import CannotListen
from roomledger.processes.portal.portal import Portal
from roomledger.runtime.token_keys import TokenKeys
from roomledger.sdk.client import Client, LoggedIn
from roomledger.settings import Settings
from roomledger_events.identifiers import new_id
from tests.support.cluster import TestCluster
from tests.support.house import House, Opened, RawClient
from tests.support.nats import until


async def refused(client: RawClient, token: str) -> str:
    """Return the code that a login is refused with; the connection is closed then."""
    answer = await client.ask("login", {"token": token})
    assert await client.close_code() == (1008, "the login failed")
    code: str = answer["error"]["data"]["code"]
    return code


# -- Logging in


async def test_a_token_lets_its_holder_into_its_room(house: House) -> None:
    client = await house.client()
    result = await client.login(house.token("t1"))
    assert result["user"] == "user-t1"
    assert result["room"]["participants"] == [{"id": result["id"], "user": "user-t1", "role": "viewer"}]
    assert house.neighbours.present() == {result["id"]}


async def test_a_login_is_answered_with_where_the_join_stands_in_the_log(house: House) -> None:
    client = await house.client()
    head = await house.store.position()
    assert (await client.login(house.token()))["seq"] == f"{head.sequence + 1}.0"


async def test_the_tokens_task_is_picked_up_once_its_holder_is_in(house: House) -> None:
    client = await house.client()
    await client.login(house.token("t1"))
    await until(lambda: bool(house.neighbours.requests("cluster.pick_up_tasks")))
    (request,) = house.neighbours.requests("cluster.pick_up_tasks")
    assert (request.worker, request.tasks) == ("portal-1", ("code-t1",))


async def test_all_that_a_token_sets_off_is_correlated_by_it(house: House) -> None:
    client = await house.client()
    participant = (await client.login(house.token("t1")))["id"]
    await client.ask("logout")
    wanted = {
        "cluster.schedule",
        "conference.get_node",
        "controller.join",
        "cluster.pick_up_tasks",
        "controller.leave",
        "cluster.lay_down_task",
    }
    heard = house.neighbours.heard
    await until(lambda: wanted <= {each.method for each in heard})
    assert {(each.meta.correlation, each.meta.actor) for each in heard if each.method in wanted} == {
        ("t1", f"participant:{participant}")
    }


async def test_a_rooms_place_is_looked_up_once_for_many_logins(house: House) -> None:
    for _ in range(3):
        await (await house.client()).login(house.token())
    assert len(house.neighbours.requests("cluster.schedule")) == 1
    assert len(house.neighbours.requests("conference.get_node")) == 1


async def test_logins_to_a_new_room_at_the_same_time_share_one_look_up(house: House) -> None:
    clients = [await house.client() for _ in range(10)]
    await asyncio.gather(*(client.login(house.token()) for client in clients))
    assert len(house.neighbours.requests("cluster.schedule")) == 1


async def test_a_room_that_moved_to_another_node_is_found_again_within_the_login(house: House) -> None:
    await (await house.client()).login(house.token())
    await house.neighbours.move("node-2")
    await (await house.client()).login(house.token())
    assert len(house.neighbours.present()) == 2
    assert len(house.neighbours.requests("conference.get_node")) == 2


async def test_a_node_that_is_not_ready_yet_is_asked_again_within_the_login(house: House) -> None:
    answers = [Refusal(Code.NOT_READY, "starting"), Refusal(Code.NOT_READY, "starting")]

    async def not_ready() -> None:
        if answers:
            raise answers.pop()

    house.neighbours.before_join = not_ready
    await (await house.client()).login(house.token())
    assert len(house.neighbours.present()) == 1


# -- Logins that are refused


@pytest.mark.parametrize(
    "code",
    [
        Code.TOKEN_EXPIRED,
        Code.TOKEN_REVOKED,
        Code.ROOM_FULL,
        Code.INVALID_ROLE,
        Code.NO_SUCH_ROOM,
        Code.INVALID_TOKEN,
    ],
)
async def test_what_the_room_refuses_is_refused_in_its_words(house: House, code: Code) -> None:
    async def refuse() -> None:
        raise Refusal(code, "no")

    house.neighbours.before_join = refuse
    assert await refused(await house.client(), house.token()) == code.value
    assert house.neighbours.requests("controller.leave") == []


async def test_of_two_logins_with_one_token_one_is_let_in(house: House) -> None:
    token = house.token()
    clients = [await house.client(), await house.client()]
    answers = await asyncio.gather(*(client.ask("login", {"token": token}) for client in clients))
    assert sorted("result" in answer for answer in answers) == [False, True]
    (failed,) = [answer for answer in answers if "error" in answer]
    assert failed["error"]["data"]["code"] == "token_used"


async def test_every_changed_byte_of_a_token_makes_it_invalid_and_reaches_no_room(house: House) -> None:
    token = house.token()
    for place in range(0, len(token), 37):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert await refused(await house.client(), changed) == "invalid_token"
    assert house.neighbours.requests("controller.join") == []


async def test_a_token_that_another_key_signed_is_invalid(house: House) -> None:
    claims = Claims(token="t1", host="127.0.0.1:1", secure=False, room="r1", code="c1", url=house.portal.url)
    assert await refused(await house.client(), sign(b"another key" * 3, claims)) == "invalid_token"


async def test_a_login_while_the_broker_is_away_says_so_and_when_to_try_again(house: House) -> None:
    token = house.token()
    client = await house.client()
    await house.server.stop()
    answer = await client.ask("login", {"token": token})
    assert answer["error"]["data"] == {"code": "log_unavailable", "retry_after_ms": 500}
    await house.server.start()
    await until(lambda: house.broker.is_connected)
    await (await house.client()).login(token)


# -- Leaving


async def test_a_logout_is_answered_then_the_participant_is_out_and_the_task_laid_down(house: House) -> None:
    client = await house.client()
    participant = (await client.login(house.token("t1")))["id"]
    assert (await client.ask("logout"))["result"] == {}
    assert await client.close_code() == (1000, "logged out")
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    (leave,) = house.neighbours.requests("controller.leave")
    assert (leave.participant, leave.reason) == (participant, "logout")
    (laid_down,) = house.neighbours.requests("cluster.lay_down_task")
    assert (laid_down.worker, laid_down.task) == ("portal-1", "code-t1")


async def test_who_loses_the_connection_is_out(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    client.socket.transport.abort()
    await until(lambda: not house.neighbours.present())
    (leave,) = house.neighbours.requests("controller.leave")
    assert leave.reason == "disconnected"


async def test_who_hangs_up_before_the_login_was_looked_at_leaves_nothing_behind(house: House) -> None:
    client = await house.client()
    client.socket.transport.abort()
    await until(lambda: house.portal.connections == 0)
    assert house.neighbours.present() == set()


async def test_who_hangs_up_while_the_room_is_looked_for_leaves_nothing_behind(house: House) -> None:
    client = await house.client()
    await client.send(f'{{"jsonrpc":"2.0","id":1,"method":"login","params":{{"token":"{house.token()}"}}}}')
    client.socket.transport.abort()
    await until(lambda: bool(house.neighbours.requests("controller.leave")))
    await until(lambda: not house.neighbours.present())


async def test_who_hangs_up_before_the_room_decides_leaves_nothing_behind(house: House) -> None:
    deciding, decide = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        deciding.set()
        await decide.wait()

    house.neighbours.before_join = hold
    await hang_up_when(house, deciding)
    decide.set()
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    assert house.neighbours.present() == set()


async def test_who_hangs_up_when_in_but_not_told_yet_leaves_nothing_behind(house: House) -> None:
    is_in, answer = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        is_in.set()
        await answer.wait()

    house.neighbours.after_join = hold
    await hang_up_when(house, is_in)
    assert len(house.neighbours.present()) == 1
    answer.set()
    await until(lambda: not house.neighbours.present())


async def hang_up_when(house: House, moment: asyncio.Event) -> None:
    client = await house.client()
    await client.send(f'{{"jsonrpc":"2.0","id":1,"method":"login","params":{{"token":"{house.token()}"}}}}')
    await moment.wait()
    client.socket.transport.abort()
    await until(lambda: house.portal.connections == 0)


async def test_a_join_whose_answer_never_came_is_taken_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "ATTEMPT_S", 0.1)
    monkeypatch.setattr(entrance, "LOGIN_S", 0.3)
    answer = asyncio.Event()

    async def hold() -> None:
        await answer.wait()

    house.neighbours.after_join = hold
    assert await refused(await house.client(), house.token()) in {"not_ready", "token_used"}
    answer.set()
    await until(lambda: bool(house.neighbours.requests("controller.leave")))
    await until(lambda: not house.neighbours.present())
    assert house.neighbours.requests("cluster.lay_down_task") == []


async def test_a_leave_that_cannot_be_delivered_is_tried_until_it_is(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    answers = [Refusal(Code.LOG_UNAVAILABLE, "not now")] * 3

    async def unavailable() -> None:
        if answers:
            raise answers.pop()

    house.neighbours.before_leave = unavailable
    await client.ask("logout")
    await until(lambda: not house.neighbours.present())
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    assert len(house.neighbours.requests("controller.leave")) == 4


async def test_who_leaves_while_the_broker_is_away_is_out_once_it_is_back(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    await house.server.stop()
    client.socket.transport.abort()
    await until(lambda: house.portal.connections == 0)
    await house.server.start()
    await until(lambda: not house.neighbours.present(), 10)


async def test_a_room_that_is_gone_needs_no_leave(house: House) -> None:
    client = await house.client()
    await client.login(house.token())

    async def gone() -> None:
        raise Refusal(Code.NO_SUCH_ROOM, "gone")

    house.neighbours.before_leave = gone
    await client.ask("logout")
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    assert len(house.neighbours.requests("controller.leave")) == 1


# -- What those in a room are told


async def test_a_join_is_told_to_the_others_and_not_to_who_joined(house: House) -> None:
    first, second = await house.client(), await house.client()
    await first.login(house.token("t1"))
    result = await second.login(house.token("t2"))
    assert await first.receive() == {
        "jsonrpc": "2.0",
        "method": "participant",
        "params": {
            "action": "join",
            "participant": {"id": result["id"], "user": "user-t2", "role": "viewer"},
            "seq": result["seq"],
        },
    }
    answer = await second.ask("participants")
    assert len(answer["result"]["participants"]) == 2


async def test_a_leave_is_told_with_who_and_why(house: House) -> None:
    first, second = await house.client(), await house.client()
    await first.login(house.token("t1"))
    gone = (await second.login(house.token("t2")))["id"]
    await first.receive()
    await second.ask("logout")
    params = (await first.receive())["params"]
    assert (params["action"], params["participant"], params["reason"]) == (
        "leave",
        {"id": gone, "user": "user-t2", "role": "viewer"},
        "logout",
    )


async def test_everybody_gets_all_that_came_after_the_own_join_once_and_in_order(house: House) -> None:
    clients: list[RawClient] = []
    since: list[str] = []
    for number in range(5):
        client = await house.client()
        since.append((await client.login(house.token(f"t{number}")))["seq"])
        clients.append(client)
        await house.neighbours.enter(f"x{number}", f"y{number}")
    for number, client in enumerate(clients):
        told = [(await client.receive())["params"] for _ in range(2 + 3 * (4 - number))]
        users = [params["participant"]["user"] for params in told]
        expected = [f"user-x{number}", f"user-y{number}"]
        for later in range(number + 1, 5):
            expected += [f"user-t{later}", f"user-x{later}", f"user-y{later}"]
        assert users == expected
        addresses = [tuple(map(int, params["seq"].split("."))) for params in told]
        assert addresses == sorted(set(addresses))
        assert addresses[0] > tuple(map(int, since[number].split(".")))


async def test_what_happens_between_a_join_and_its_answer_is_told_to_who_was_first_here(house: House) -> None:
    async def busy() -> None:
        await house.neighbours.enter(new_id(), new_id())

    house.neighbours.after_join = busy
    client = await house.client()
    await client.login(house.token())
    assert [(await client.receive())["params"]["action"] for _ in range(2)] == ["join", "join"]


async def test_what_happens_between_a_join_and_its_answer_is_told_to_who_comes_later(house: House) -> None:
    first = await house.client()
    await first.login(house.token("t1"))

    async def busy() -> None:
        for _ in range(3):
            await house.neighbours.enter(new_id())
        for _ in range(4):
            await first.receive()

    house.neighbours.after_join = busy
    second = await house.client()
    await second.login(house.token("t2"))
    assert [(await second.receive())["params"]["action"] for _ in range(3)] == ["join"] * 3


async def test_a_crowd_that_is_let_into_a_real_room_at_once_learns_of_everybody_once(
    cluster: TestCluster,
) -> None:
    await cluster.manager()
    await cluster.conference()
    portal = await cluster.start(Portal)
    await cluster.room("r1")
    keys = TokenKeys(cluster.access.broker, cluster.settings())
    await keys.load()
    tokens = [
        sign(
            keys.signing,
            Claims(
                token=await cluster.token("r1"),
                host="127.0.0.1:1",
                secure=False,
                room="r1",
                code=new_id(),
                url=portal.url,
            ),
        )
        for _ in range(50)
    ]

    async def learn(client: Client, login: LoggedIn, everybody: set[str]) -> None:
        known = [each.id for each in login.room.participants]
        async for told in client:
            known.append(told.params["participant"]["id"])
            if len(known) == len(everybody):
                break
        assert len(known) == len(set(known))
        assert set(known) == everybody

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(token)) for token in tokens]
        logins = await asyncio.gather(*(client.login() for client in clients))
        last = max(logins, key=lambda login: len(login.room.participants))
        everybody = {login.id for login in logins}
        assert {each.id for each in last.room.participants} == everybody
        async with asyncio.timeout(10):
            await asyncio.gather(
                *(
                    learn(client, login, everybody)
                    for client, login in zip(clients, logins, strict=True)
                    if login is not last
                )
            )


async def test_what_happens_in_a_room_is_not_told_in_another(house: House) -> None:
    here, there = await house.client(), await house.client()
    await here.login(house.token(room="r1"))
    await there.login(house.token(room="r2"))
    await house.neighbours.enter("p9", room="r1")
    assert (await here.receive())["params"]["participant"]["id"] == "p9"
    answer = await there.ask("participants")
    assert "result" in answer


async def test_news_go_on_after_the_broker_was_away(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    await house.server.restart()
    await until(lambda: house.broker.is_connected)
    await house.neighbours.enter("p9")
    assert (await client.receive())["params"]["participant"]["id"] == "p9"


async def test_who_is_dropped_is_told_why_and_closed_and_does_not_leave_again(house: House) -> None:
    client, other = await house.client(), await house.client()
    await other.login(house.token("t1"))
    dropped = (await client.login(house.token("t2")))["id"]
    await other.receive()
    await house.neighbours.drop(dropped, "be gone")
    assert await client.receive() == {"jsonrpc": "2.0", "method": "drop", "params": {"reason": "be gone"}}
    assert await client.close_code() == (4001, "be gone")
    assert (await other.receive())["params"]["reason"] == "dropped"
    await until(lambda: bool(house.neighbours.requests("cluster.lay_down_task")))
    assert house.neighbours.requests("controller.leave") == []


async def test_everybody_is_out_of_a_room_that_is_deleted(house: House) -> None:
    clients = [await house.client() for _ in range(2)]
    await clients[0].login(house.token())
    await clients[1].login(house.token())
    await clients[0].receive()
    await house.neighbours.delete()
    for client in clients:
        assert (await client.receive())["params"] == {"reason": "room_deleted"}
        assert await client.close_code() == (4001, "room_deleted")


# -- The portal as a worker


async def test_it_joins_the_cluster_with_where_clients_find_it(house: House) -> None:
    (join,) = house.neighbours.requests("cluster.join")
    assert (join.purpose, join.worker) == ("portal", "portal-1")
    url = f"http://{join.info.ip}:{join.info.port}"
    assert url == house.portal.socketio_url
    assert join.info.properties == {"url": house.portal.url, "incarnation": house.portal.here.incarnation}


async def test_its_load_is_the_share_of_the_connections_that_it_can_have(opened: Opened) -> None:
    house = await opened(portal_connections=4)
    await house.client()
    await until(lambda: house.neighbours.requests("cluster.report_load")[-1].load == 0.25)


async def test_a_stop_closes_its_clients_and_tells_their_rooms(house: House) -> None:
    client = await house.client()
    await client.login(house.token())
    closed = asyncio.create_task(client.close_code())
    await house.portal.stop()
    assert await closed == (1012, "the portal stops")
    assert house.neighbours.present() == set()
    assert len(house.neighbours.requests("cluster.quit")) == 1


async def test_a_port_in_use_is_named(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        portal = Portal(Settings(portal_port=port), house.broker, house.store)
        with pytest.raises(CannotListen, match=f"port {port}"):
            await portal.start()
