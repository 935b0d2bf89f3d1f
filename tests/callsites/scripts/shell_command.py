"""A string is a line of shell; `$(NAME)` is replaced before it, and `$$` stands for `$`."""

import lyftlearn

COMMAND = """
echo 'region $(REGION), nobody knows $(NOBODY), as it stands $$(REGION)'; echo $((40 + 2)) by the shell
echo "model $LYFTLEARN_MODEL, kind $(LYFTLEARN_JOB_KIND), attempt ${LYFTLEARN_ATTEMPT}, url $URL"
for word in "two words" 'single  spaced' plain; do echo "<$word>"; done | sort -r
[ "$$$$" -gt 0 ] && echo "a shell with a process id"
echo to stderr >&2
false || echo "failed, and went on"
cat <<'END'
  a "here" document: $REGION
END
"""

job = lyftlearn.train("eta", command=COMMAND, env={"REGION": "sfo", "URL": "rides://$(REGION)/$(URL)/$$(REGION)"})
print(job.wait().status)
print("\n".join(job.logs()))

piped = lyftlearn.train("eta", command="seq 5 | tac | tr '\\n' ' '")
print(piped.wait().status, list(piped.logs()))
