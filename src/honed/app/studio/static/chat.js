"use strict";
// Asks the specialist, then its base, and shows each reply as it comes. Whatever is said becomes text, never markup.
const by = (id) => document.getElementById(id);
const chat = by("chat");
const NAMES = { specialist: "Specialist", base: "Base" };
let said = { specialist: [], base: [] }; // each knows its own conversation
let writing = null; // what stops the reply that is being written

function add(parent, tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function fail(error) {
  by("failed").replaceChildren();
  for (const text of [error.problem, error.cause, error.remedy]) if (text) add(by("failed"), "p", "data cause", text);
  by("failed").hidden = false;
}

function told(done) {
  const facts = [`${done.n_tokens} token${done.n_tokens === 1 ? "" : "s"}, ${done.seconds} s`];
  if (done.is_cut) facts.push("cut off at the most new tokens");
  if (done.is_prompt_cut) facts.push("the beginning of the conversation was longer than what it reads, and left out");
  return facts.join("; ");
}

async function reply(who, message, box, known, signal) {
  const text = add(box, "p", "data text", "");
  text.dir = "auto";
  const facts = add(box, "small", "muted", "");
  const turns = [...known[who], { role: "user", content: message }];
  let whole = "";
  try {
    const answer = await fetch(chat.dataset.address, {
      method: "POST", signal,
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({
        who, turns, system: by("system").value, temperature: by("temperature").valueAsNumber,
        max_new_tokens: by("max_new_tokens").valueAsNumber, seed: by("seed").valueAsNumber,
      }),
    });
    if (!answer.ok) throw (await answer.json()).error;
    for await (const piece of lines(answer.body)) {
      if (piece.error) throw piece.error;
      if (piece.done) {
        whole = piece.done.reply;
        text.textContent = piece.done.shown;
        facts.textContent = told(piece.done);
      } else {
        whole += piece.text;
        text.textContent = (text.textContent + piece.shown).trimStart();
      }
    }
  } catch (error) {
    facts.textContent = signal.aborted ? "stopped" : "no reply";
    if (!signal.aborted) throw error;
  } finally {
    whole = whole.trim();
    if (!whole) text.textContent = "(no text)";
    else known[who] = [...turns, { role: "assistant", content: whole }];
    box.setAttribute("aria-busy", "false"); // only now is it read out
  }
}

async function send() {
  const message = by("message").value.trim();
  if (!message || writing || !chat.reportValidity()) return;
  const mine = new AbortController();
  const known = said; // a reset meanwhile makes another
  writing = mine;
  by("failed").hidden = true;
  by("message").value = "";
  by("send").disabled = true;
  by("stop").hidden = false;
  const turn = add(by("log"), "section", "turn", "");
  add(turn, "h3", "hidden", "You");
  add(turn, "p", "data asked", message).dir = "auto";
  const replies = add(turn, "div", "replies", "");
  const boxes = Object.keys(NAMES).map((who) => {
    const box = add(replies, "article", "reply", "");
    box.setAttribute("aria-busy", "true");
    add(box, "h3", "", NAMES[who]);
    return [who, box];
  });
  turn.scrollIntoView({ block: "nearest" });
  try {
    for (const [who, box] of boxes) {
      if (mine.signal.aborted) box.remove();
      else {
        by("state").textContent = `The ${who} replies …`;
        await reply(who, message, box, known, mine.signal);
      }
    }
    by("state").textContent = mine.signal.aborted ? "Stopped." : "Both replied.";
  } catch (error) {
    by("state").textContent = "";
    fail(error.problem ? error : { problem: "The studio does not answer.", remedy: "Is it still running?" });
    for (const [, box] of boxes) if (box.getAttribute("aria-busy") === "true") box.remove();
  } finally {
    if (writing === mine) writing = null;
    by("send").disabled = false;
    by("stop").hidden = true;
  }
}

function stop() {
  if (!writing) return;
  writing.abort();
  by("message").focus(); // the button that had it goes away
}

chat.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
by("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
by("stop").addEventListener("click", stop);
by("reset").addEventListener("click", () => {
  stop();
  said = { specialist: [], base: [] };
  by("log").replaceChildren();
  by("failed").hidden = true;
  by("state").textContent = "The conversation begins anew.";
  by("message").focus();
});
