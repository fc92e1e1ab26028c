"""The processes of a cluster. They meet only on the wire."""
