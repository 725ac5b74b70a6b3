"use strict";
// Asks every second how far the fit is, and puts it on the page; nothing is asked once it has ended.
const fit = document.getElementById("fit");
const by = (id) => document.getElementById(id);

function line(list, text, more) {
  const item = document.createElement("li");
  item.textContent = text;
  if (more) {
    const small = document.createElement("span");
    small.className = "muted";
    small.textContent = " " + more;
    item.append(small);
  }
  list.append(item);
}

function show(status) {
  if (by("state").textContent !== status.state) by("state").textContent = status.state;
  by("stages").replaceChildren();
  for (const stage of status.stages) line(by("stages"), stage.message, stage.seconds === null ? "" : `${stage.seconds} s`);
  by("notes").replaceChildren();
  for (const note of status.notes) line(by("notes"), note);
  by("step").hidden = !status.step || status.state !== "running";
  if (status.step) {
    by("step-told").textContent = `${status.step.message}: ${status.step.done} of ${status.step.total} ${status.step.unit.replace(/y$/, "ie")}s`;
    by("bar").max = status.step.total;
    by("bar").value = status.step.done;
  }
  by("stop").hidden = status.state !== "running";
  by("resume").hidden = !(status.has_run && ["stopped", "failed", "unknown"].includes(status.state));
  by("forget").hidden = status.has_run || !["stopped", "failed"].includes(status.state);
  by("open").hidden = status.state !== "finished";
  const error = status.result.error;
  by("failure").replaceChildren();
  if (error) {
    const box = document.createElement("div");
    box.className = "callout failure";
    box.setAttribute("role", "alert");
    for (const text of [error.problem, error.cause, error.remedy]) {
      if (!text) continue;
      const told = document.createElement("p");
      told.className = "data cause";
      told.textContent = text;
      box.append(told);
    }
    by("failure").append(box);
  }
}

async function ask() {
  let state = "running";
  try {
    const answer = await fetch(fit.dataset.status);
    if (answer.ok) {
      const status = await answer.json();
      state = status.state;
      show(status);
    }
  } catch {
    by("state").textContent = "the studio does not answer; the fit goes on without it";
  }
  if (state === "running") setTimeout(ask, 1000);
}
if (["running", "unknown"].includes(fit.dataset.state)) ask();
