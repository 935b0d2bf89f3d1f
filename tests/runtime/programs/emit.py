"""A program that counts through a StatsD library, as it is configured by default or by the usual variables."""

from statsd.defaults.env import statsd

for _ in range(100):
    statsd.incr("rides")
