"""Requests to AWS: clients, repetition, errors, and what jobs themselves may do."""
