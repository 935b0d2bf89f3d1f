"""The driver of a tuning job: it draws hyperparameters, submits trials, and reads their objectives."""
