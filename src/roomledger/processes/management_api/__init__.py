"""The management API: rooms, tokens and what the cluster looks like, over HTTP."""
