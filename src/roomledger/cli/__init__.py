"""The command line: serve, and ask what the log knows."""
