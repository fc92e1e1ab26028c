"""The passwords of the broker's three users.

They are made up at the first start and kept in the data directory; an environment variable wins, and is not
kept.
"""

import json
import secrets
from collections.abc import Mapping

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.errors import DataDirectoryUnusable

USERS = ("service", "audit", "admin")
INBOX_PREFIX = {"service": "_INBOX", "audit": "_INBOX_audit", "admin": "_INBOX"}
"""Where each user's answers go: the auditor's elsewhere, so that it cannot listen to others'."""

CREDENTIALS_FILE = "nats-credentials.json"


def password_variable(user: str) -> str:
    """Return the name of the environment variable with the user's password; `nats.conf` reads it too."""
    return f"ROOMLEDGER_NATS_{user.upper()}_PASSWORD"


def read_credentials(directory: DataDirectory, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the passwords that are known, by user.

    Raises:
        DataDirectoryUnusable: The file with the passwords cannot be read or holds something else.
    """
    kept = _kept(directory)
    return {
        user: password
        for user in USERS
        if (password := environ.get(password_variable(user)) or kept.get(user)) is not None
    }


def make_credentials(directory: DataDirectory, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the passwords of all users; those that nobody has are made up and kept.

    Raises:
        DataDirectoryUnusable: The file with the passwords cannot be read or written.
    """
    known = read_credentials(directory, environ)
    missing = [user for user in USERS if user not in known]
    if missing:
        # A letter first: nats.conf reads what begins with a digit as a number.
        made = {user: f"p{secrets.token_urlsafe(32)}" for user in missing}
        directory.write(CREDENTIALS_FILE, json.dumps(_kept(directory) | made, indent=2) + "\n")
        known |= made
    return known


def _kept(directory: DataDirectory) -> dict[str, str]:
    text = directory.read(CREDENTIALS_FILE)
    if text is None:
        return {}
    try:
        kept = json.loads(text)
    except ValueError as error:
        raise DataDirectoryUnusable(directory.path, f"{CREDENTIALS_FILE}: not JSON") from error
    if not isinstance(kept, dict) or not all(isinstance(value, str) and value for value in kept.values()):
        raise DataDirectoryUnusable(directory.path, f"{CREDENTIALS_FILE}: not an object of passwords by user")
    return kept
