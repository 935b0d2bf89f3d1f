"""Studies: what a tuning job keeps in the storage of its search, its trials and their objectives."""
