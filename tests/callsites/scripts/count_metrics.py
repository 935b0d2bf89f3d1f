"""Metrics go to StatsD as ever; tags are passed on unchanged."""

import lyftlearn

TRAIN = """
import os, socket
statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
statsd.connect((os.environ["STATSD_HOST"], int(os.environ["STATSD_PORT"])))
job = os.environ["LYFTLEARN_JOB_ID"]
for number in range(3):
    statsd.send(f"rides.read:{number}|c|@0.5|#job:{job},region:sfo".encode())
statsd.send(f"rides.loss:0.25|g|#job:{job}\\nrides.seconds:1.5|ms|#job:{job}".encode())
print("sent 4 packets")
"""

job = lyftlearn.train("eta", command=["python3", "-c", TRAIN])
print(job.id, job.wait().status, list(job.logs()))
