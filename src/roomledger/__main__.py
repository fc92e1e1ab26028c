"""Lets ``python -m roomledger`` do what the command does."""

from roomledger.cli.main import main

main()
