"""A client for the management API: rooms, tokens and participants, for programs and for the command line."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from roomledger.sdk.errors import ApiRefused, ApiUnreachable

TIME_LIMIT_S: Final = 15.0
"""How long an answer may take: longer than the API itself waits for a portal."""
PER_PAGE: Final = 1000
_PROBLEM: Final = "application/problem+json"


class Management:
    """Asks a management API on behalf of a service; use it as a context manager.

    All methods raise `ApiUnreachable` and `ApiRefused`.

    Args:
        url: Where the API is, such as ``http://127.0.0.1:3000``.
        key: The service's key.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        try:
            self._client = httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {key}"},
                timeout=TIME_LIMIT_S,
                # What the environment says of proxies is for the way out, not for one's own cluster.
                trust_env=False,
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise ApiUnreachable(url, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    # -- Rooms

    def create_room(
        self, name: str, options: Mapping[str, Any] | None = None, *, room: str | None = None
    ) -> dict[str, Any]:
        """Create a room and return it; by default its id is made up."""
        body: dict[str, Any] = {"name": name}
        if options is not None:
            body["options"] = options
        if room is not None:
            body["id"] = room
        created: dict[str, Any] = self._json("POST", "/v1/rooms", body)
        return created

    def room(self, room: str) -> dict[str, Any]:
        """Return a room."""
        found: dict[str, Any] = self._json("GET", _room(room))
        return found

    def rooms(self) -> Iterator[dict[str, Any]]:
        """Yield all rooms of the service, oldest first."""
        return self._all("/v1/rooms")

    def change_room(self, room: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change what is set of a room, the rest stays; return the room."""
        changed: dict[str, Any] = self._json("PATCH", _room(room), changes)
        return changed

    def delete_room(self, room: str) -> None:
        """Delete a room; everybody in it is out."""
        self._ask("DELETE", _room(room))

    # -- Participants

    def participants(self, room: str) -> Iterator[dict[str, Any]]:
        """Yield all who are in a room, in the order of joining."""
        return self._all(f"{_room(room)}/participants")

    def set_permission(self, room: str, participant: str, path: str, *, allowed: bool) -> dict[str, Any]:
        """Change one thing that a participant may do, such as ``publish/audio``; return the participant."""
        patch = [{"op": "replace", "path": f"/permission/{path}", "value": allowed}]
        changed: dict[str, Any] = self._json("PATCH", _participant(room, participant), patch)
        return changed

    def remove_participant(self, room: str, participant: str, *, reason: str | None = None) -> None:
        """Remove a participant from a room; the reason is what the participant is told."""
        tail = "" if reason is None else f"?reason={quote(reason, safe='')}"
        self._ask("DELETE", _participant(room, participant) + tail)

    # -- Tokens

    def token(
        self, room: str, *, user: str, role: str, isp: str | None = None, region: str | None = None
    ) -> str:
        """Return a token for a room, as its client is given it."""
        where = {"isp": isp, "region": region}
        preference = {name: value for name, value in where.items() if value is not None}
        body = {"user": user, "role": role} | ({"preference": preference} if preference else {})
        return self._ask("POST", f"{_room(room)}/tokens", body).text

    def revoke_token(self, token: str) -> None:
        """See to it that a token can never be used any more."""
        self._ask("DELETE", f"/v1/tokens/{quote(token, safe='')}")

    # -- Requests

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        page = 1
        while found := self._json("GET", f"{path}?page={page}&per_page={PER_PAGE}"):
            yield from found
            if len(found) < PER_PAGE:
                return
            page += 1

    def _json(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  - JSON values
        answer = self._ask(method, path, body)
        try:
            return answer.json()
        except ValueError as error:
            raise ApiUnreachable(self._url, "it answers with something else than JSON") from error

    def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiUnreachable(self._url, str(error) or type(error).__name__) from error
        if answer.is_success:
            return answer
        if answer.headers.get("content-type", "").startswith(_PROBLEM):
            problem = answer.json()
            raise ApiRefused(answer.status_code, problem["code"], problem["detail"])
        raise ApiUnreachable(self._url, f"what answers there says {answer.status_code}")


def _room(room: str) -> str:
    return f"/v1/rooms/{quote(room, safe='')}"


def _participant(room: str, participant: str) -> str:
    return f"{_room(room)}/participants/{quote(participant, safe='')}"
