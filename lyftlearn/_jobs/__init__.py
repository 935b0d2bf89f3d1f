"""Handles on jobs: watching, waiting, showing."""
