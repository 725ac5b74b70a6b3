"use strict";
// The review queue. Only the rows that can be seen are in the page; they are asked for a hundred at a time.
const HEIGHT = 56, PAGE = 100, MOST_PAGES = 40;
const by = (id) => document.getElementById(id);
const address = by("review").dataset.address;
const list = by("list");
let total = 0, place = 0, facts = null, pages = new Map(), generation = 0, work = Promise.resolve();

const chosen = () => new URLSearchParams({ show: by("show").value, given: by("given").value });
const rowAt = (i) => pages.get(Math.floor(i / PAGE))?.[i % PAGE];

async function ask(path, body) {
  const answer = await fetch(`${address}/review/${path}`, body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ? [said.error.problem, said.error.remedy].join(" ") : answer.statusText);
  return said;
}

function fail(error) {
  by("failed").textContent = `${error.message || error} Nothing was changed.`;
  by("failed").hidden = false;
}

async function load(page) {
  if (pages.has(page)) return;
  const mine = generation;
  pages.set(page, []);
  try {
    const query = chosen();
    query.set("start", page * PAGE);
    query.set("n", PAGE);
    const said = await ask(`rows?${query}`);
    if (mine !== generation) return;
    pages.set(page, said.rows);
    count(said.total, said.n_decided);
    if (pages.size > MOST_PAGES) for (const far of pages.keys()) if (Math.abs(far - page) > MOST_PAGES / 4 && far !== Math.floor(place / PAGE)) pages.delete(far);
    draw();
  } catch (error) {
    pages.delete(page);
    fail(error);
  }
}

function count(n, nDecided) {
  total = n;
  by("spacer").style.height = `${total * HEIGHT}px`;
  const told = `${total.toLocaleString("en")} row${total === 1 ? "" : "s"} shown, ${nDecided.toLocaleString("en")} decided`;
  if (by("count").textContent !== told) by("count").textContent = told; // or it would be read out again
}

const became = (row) => ({ keep: "kept as given", drop: "dropped", relabel: `relabelled to ${row.new_label}` })[row.decision] || "undecided";

function draw() {
  const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 5);
  const last = Math.min(total, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 5);
  const there = new Map([...list.querySelectorAll(".row")].map((node) => [Number(node.dataset.place), node]));
  for (const [i, node] of there) if (i < first || i >= last) node.remove();
  for (let i = first; i < last; i++) {
    let node = there.get(i);
    if (!node) {
      node = document.createElement("div");
      node.className = "row";
      node.id = `row-${i}`;
      node.dataset.place = i;
      node.setAttribute("role", "option");
      node.setAttribute("aria-posinset", i + 1);
      node.style.transform = `translateY(${i * HEIGHT}px)`;
      for (const name of ["text", "labels"]) node.append(Object.assign(document.createElement("span"), { className: name, dir: "auto" }));
      list.append(node);
    }
    const row = rowAt(i);
    if (!row) load(Math.floor(i / PAGE));
    node.setAttribute("aria-setsize", total);
    node.setAttribute("aria-selected", i === place);
    node.classList.toggle("decided", Boolean(row?.decision));
    node.children[0].textContent = row ? row.text.slice(0, 160) || "(no text)" : "…";
    node.children[1].textContent = row ? `${row.given} → ${row.suggested} · ${row.quality.toFixed(3)}${row.decision ? " · " + became(row) : ""}` : "";
  }
  list.setAttribute("aria-activedescendant", by(`row-${place}`) ? `row-${place}` : "");
  detail();
}

function detail() {
  const row = rowAt(place);
  by("detail").hidden = !row;
  if (!row) return;
  by("detail-title").textContent = `Row ${row.row.toLocaleString("en")} of the file, ${(place + 1).toLocaleString("en")} of ${total.toLocaleString("en")}`;
  by("text").textContent = row.text + (row.is_cut ? "\n(cut here: it is longer)" : "");
  by("row-given").textContent = row.given;
  by("row-suggested").textContent = row.suggested;
  by("row-quality").textContent = `${row.quality.toFixed(3)} (${row.is_flagged ? "flagged" : "not flagged"})`;
  by("row-why").textContent = row.why;
  by("row-decision").textContent = became(row);
  const picture = by("picture");
  if (picture && picture.dataset.of !== row.example_id) {
    picture.dataset.of = row.example_id;
    picture.hidden = false;
    picture.alt = `The image of row ${row.row}`;
    picture.src = `${address}/picture?${new URLSearchParams({ example_id: row.example_id })}`;
  }
}

async function go(to) {
  if (!total) return;
  place = Math.max(0, Math.min(total - 1, to));
  const top = place * HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
  await load(Math.floor(place / PAGE));
  draw();
}

function take(said) { // what the server kept; it may concern a row that is not loaded
  for (const rows of pages.values()) for (const row of rows) if (row.example_id === said.example_id) Object.assign(row, { decision: said.decision, new_label: said.new_label });
  count(total, said.n_decided);
}

// One after another: a decision concerns the row that was shown when the one before it was kept.
const then = (step) => (work = work.then(step).catch(fail));

const decide = (decision, label = -1) => then(async () => {
  const row = rowAt(place);
  if (!row) return;
  by("failed").hidden = true;
  const said = await ask("decide", { example_id: row.example_id, decision, label });
  take(said);
  by("said").textContent = `Row ${row.row}: ${became(row)}. U takes it back.`;
  by("other").value = "";
  await go(place + 1);
});

const undo = () => then(async () => {
  const said = await ask("undo", {});
  by("said").textContent = "There is nothing to take back.";
  if (said.example_id === null) return;
  take(said);
  for (const [page, rows] of pages) {
    const i = rows.findIndex((row) => row.example_id === said.example_id);
    if (i >= 0) await go(page * PAGE + i);
  }
  by("said").textContent = "Taken back.";
});

const next = () => then(async () => {
  const query = chosen();
  query.set("after", place);
  const said = await ask(`next?${query}`);
  if (said.place === null) by("said").textContent = "Every row that is shown is decided.";
  else await go(said.place);
});

const relabel = () => by("other").value !== "" && decide("relabel", Number(by("other").value));

async function start() {
  generation += 1;
  pages = new Map();
  total = place = 0;
  for (const node of list.querySelectorAll(".row")) node.remove();
  list.scrollTop = 0;
  await load(0);
  draw();
  const query = chosen();
  query.set("after", -1);
  const said = await ask(`next?${query}`);
  if (said.place) await go(said.place); // where one left off
  by("review").dataset.ready = "yes";
}

const keys = {
  a: () => decide("relabel"), g: () => decide("keep"), d: () => decide("drop"), r: () => by("other").focus(), u: undo, n: next,
  j: () => go(place + 1), k: () => go(place - 1), ArrowDown: () => go(place + 1), ArrowUp: () => go(place - 1),
  PageDown: () => go(place + 10), PageUp: () => go(place - 10), Home: () => go(0), End: () => go(total - 1),
};
document.addEventListener("keydown", (event) => {
  const inList = document.activeElement === list, isLetter = event.key.length === 1;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) {
    if (event.target === by("other") && event.key === "Enter") relabel();
    return;
  }
  if (isLetter ? !by("keys").checked : !inList && !(event.key.startsWith("Arrow") && document.activeElement === document.body)) return;
  const act = keys[isLetter ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
list.addEventListener("click", (event) => {
  const node = event.target.closest(".row");
  if (node) go(Number(node.dataset.place));
});
for (const [id, act] of Object.entries({ accept: keys.a, keep: keys.g, drop: keys.d, undo, next, relabel })) by(id).addEventListener("click", act);
for (const id of ["show", "given"]) by(id).addEventListener("change", () => start().catch(fail));
new ResizeObserver(() => requestAnimationFrame(draw)).observe(list);

(async () => {
  facts = await ask("facts");
  for (const id of ["given", "other"]) facts.label_names.forEach((name, i) => by(id).add(new Option(name, i)));
  if (!facts.n_flagged) by("show").value = "all";
  await start();
  list.focus();
})().catch(fail);
