"""From a spec to a plan, and from a plan to a training job."""
