"""What we know: the log, folded into tables that people can read."""
