"""What we know: the log folded into SQLite, one file for each projection.

A projection is a cache of the log. Its rows and its position are committed together, so every event counts
exactly once; its file may be deleted at any time and is rebuilt from the log.
"""

from typing import Final

from roomledger_projections.audit import AUDIT
from roomledger_projections.cluster import CLUSTER
from roomledger_projections.projection import Projection
from roomledger_projections.rooms import ROOMS
from roomledger_projections.tokens import TOKENS

PROJECTIONS: Final[tuple[Projection, ...]] = (CLUSTER, ROOMS, TOKENS, AUDIT)
"""Every projection there is."""
