"""The history: what was submitted where, how it ended, and what it cost, long after the platforms have forgotten it."""
