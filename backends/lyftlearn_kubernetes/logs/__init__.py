"""Lines of logs: from pods while they are there, from the storage afterwards."""
