"""For those who write workers and clients."""
