"""Probes: sources of one-time work, one file a source."""
