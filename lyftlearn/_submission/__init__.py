"""From a checked call to an accepted job."""
