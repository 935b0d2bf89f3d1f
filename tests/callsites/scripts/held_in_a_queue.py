"""Jobs that their queue holds back are pending; one is taken out of it, the other runs when there is room."""

import lyftlearn

job = lyftlearn.train("queued", command="echo ran; echo 7 > $LYFTLEARN_MODEL_DIR/depth")
unwanted = lyftlearn.train("queued", command="echo ran")
while [job.status, unwanted.status] != ["pending", "pending"]:
    pass
for held in (job, unwanted):
    print(held.state.status, held.state.reason, held.state.exit_code, held.state.started_at, held.state.attempt)
print("listed:", {one.id for one in lyftlearn.jobs(name="queued", status="pending")} == {job.id, unwanted.id})

unwanted.stop()
end = unwanted.wait(check=False)
print(end.status, end.reason, end.exit_code, end.started_at, repr(end.message), list(unwanted.logs()))

print("room, please", flush=True)
print(list(job.logs(follow=True)))
end = job.wait()
print(end.status, end.reason, end.exit_code, end.attempt, repr(end.message), job.refresh() == end)
job.download("later")
