"""The conference worker: nodes and the controllers of rooms."""
