"""What a ride is described by."""

NAMES = ["day", "minutes"]
