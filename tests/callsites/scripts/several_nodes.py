"""Two containers run the command together; they know each other's names and ranks."""

import lyftlearn

COMMAND = """
import os, socket, time
rank, nodes = int(os.environ["LYFTLEARN_NODE_RANK"]), int(os.environ["LYFTLEARN_NODES"])
hosts = os.environ["LYFTLEARN_HOSTS"].split(",")
print("rank", rank, "of", nodes, "-", len(set(hosts)), "hosts")
print("the first is the master:", os.environ["MASTER_ADDR"] == hosts[0], int(os.environ["MASTER_PORT"]) > 0)
print({name: os.environ[name] for name in ("NODE_RANK", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE")})
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(address) as server:
        peer = server.accept()[0]
        print("heard:", peer.recv(100).decode())
    with open(os.path.join(os.environ["LYFTLEARN_MODEL_DIR"], "model.txt"), "w") as file:
        file.write("made by two\\n")
else:
    for _ in range(600):
        try:
            peer = socket.create_connection(address)
            break
        except OSError:
            time.sleep(0.1)
    peer.sendall(b"hello from rank 1")
    print("said hello")
"""

job = lyftlearn.train("eta", command=["python3", "-c", COMMAND], nodes=2, timeout="5m")
print(job.wait().status)
for rank in range(2):
    for line in job.logs(node=rank):
        print(f"{rank}: {line}")
job.download("together")

FAILING = '[ "$LYFTLEARN_NODE_RANK" = 0 ] && exec sleep 600; echo rank 1 fails; exit 9'
failing = lyftlearn.train("eta", command=FAILING, nodes=2)
state = failing.wait(check=False)
print(state.status, state.reason, state.exit_code, state.message)
