"""From a job to the objects that are created, and their creation."""
