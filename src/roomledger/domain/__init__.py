"""Who gets what, and why: pure rules, no I/O, no clock, no chance."""
