"""Frozen data with units, protocols, errors. Imports nothing of ours above it."""
