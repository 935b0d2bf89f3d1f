"""What is on disk, and what clients do with it."""
