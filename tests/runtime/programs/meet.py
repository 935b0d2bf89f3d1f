"""Two nodes that meet at MASTER_ADDR, as torch.distributed does, and add up their ranks."""

import os
import socket
import time

rank, nodes = int(os.environ["NODE_RANK"]), int(os.environ["PET_NNODES"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
assert os.environ["PET_NODE_RANK"] == os.environ["LYFTLEARN_NODE_RANK"] == str(rank)
if rank == 0:
    with socket.create_server(place) as server:
        total = sum(int(server.accept()[0].recv(16)) for _ in range(nodes - 1))
    print("total", total)
else:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(place, timeout=5) as connection:
                connection.sendall(str(rank).encode())
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    print("sent", rank)
