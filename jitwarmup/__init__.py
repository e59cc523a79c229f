"""Timings of (text-)generation code made true."""

__version__ = "0.1.0"
