"""A client: it joins a room, greets whoever is there, and tells what happens until it is told "bye".

Beside `roomledger serve`, each in a terminal:

    python examples/client.py $(roomledger token --user ada)
    roomledger join $(roomledger token --user grace)

Kill the portal and start it again: the client comes back by itself and has missed nothing.
"""

import asyncio
import sys

from roomledger.sdk.client import Client, ConnectionBack, ConnectionLost, Notification


async def main(token: str, *others: str) -> None:
    """Attend a room.

    Args:
        token: The token's text, which names the portal.
        others: The urls of other portals, for when that one is gone.
    """
    async with Client(token, urls=others) as client:
        login = await client.login()
        users = {each.id: each.user for each in login.room.participants}
        print(f"{login.user} is in {login.room.name} with {len(users) - 1} others", flush=True)
        await client.text("all", "hello")
        async for told in client:
            match told:
                case Notification("participant", {"action": "join", "participant": who}):
                    users[who["id"]] = who["user"]
                    print(f"{who['user']} came", flush=True)
                case Notification("participant", {"action": "leave", "participant": who}):
                    print(f"{who['user']} left", flush=True)
                case Notification("text", {"from": sender, "message": message}):
                    print(f"{users[sender]}: {message}", flush=True)
                    if message == "bye":
                        break
                case ConnectionLost(_, reason):
                    print(f"away: {reason}", flush=True)
                case ConnectionBack(url, missed, seconds):
                    print(f"back at {url} after {seconds:.1f} s; {missed} things happened", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
