"""`nats.conf` for a cluster with names of its own."""

import re
from typing import NamedTuple

from roomledger.runtime.nats_binary import find_nats_conf


class Names(NamedTuple):
    """What a cluster calls what stands in `nats.conf`, which has the defaults.

    Attributes:
        log: The log, and what its buckets' names begin with.
        ledger: The first word of the log's subjects.
        feed: The first word of those that it is republished under.
    """

    log: str = "ROOMLEDGER"
    ledger: str = "ledger"
    feed: str = "feed"


def nats_conf(names: Names) -> str:
    """Return `nats.conf` with a cluster's names in its permissions; those of accounts and users stay.

    Raises:
        FileNotFoundError: There is no `nats.conf`.
    """
    text = find_nats_conf().read_text()
    text = re.sub(r"(?<=\.)ROOMLEDGER(?=[\".])|(?<=OBJ_)ROOMLEDGER(?=_)", names.log, text)
    text = re.sub(r'(?<=")ledger(?=\.>")', names.ledger, text)
    return re.sub(r'(?<=")feed(?=\.>")', names.feed, text)
