"""How jobs are: found, followed, and told in events."""
