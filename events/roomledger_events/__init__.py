"""What happened: the contract of the log, without a broker.

An event is a CloudEvents 1.0 object in structured JSON; a message of the log is a *commit*, a JSON array of
one or more events of one consistency boundary that were appended together.  The modules here define the
envelope, the identifiers, the subjects, every event's data and how older versions of it are read.  Nothing in
this package does I/O.
"""
