// The log of a job while it grows. Lines are set as text, so nothing in them is obeyed.
"use strict";
const log = document.getElementById("log");
const state = document.getElementById("log-state");
const most = 5000; // lines that are shown
const source = new EventSource(log.dataset.from);
state.textContent = "Reading the log.";
source.onmessage = (event) => {
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  for (const line of JSON.parse(event.data)) log.append(line + "\n");
  while (log.childNodes.length > most) log.firstChild.remove();
  if (follows) log.scrollTop = log.scrollHeight;
  state.textContent = "New lines appear here.";
};
source.addEventListener("end", (event) => {
  source.close();
  state.textContent = JSON.parse(event.data);
});
source.onerror = () => {
  source.close();
  state.textContent = "The connection ended: load the page again to go on.";
};
