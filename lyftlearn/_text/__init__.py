"""Texts that people read and write: quantities, durations, tables."""
