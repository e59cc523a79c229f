"""Monitors: device meters."""
