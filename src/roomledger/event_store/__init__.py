"""The log as four verbs: append, read, follow, position."""
