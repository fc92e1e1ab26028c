"""The cluster manager: which worker gets which task."""
