"""Requests to the API server: which one, as whom, over which connections, and what its refusals mean."""
