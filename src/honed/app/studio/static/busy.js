"use strict";
// A form that takes a while says so, and is not sent twice.
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    form.querySelector("button").disabled = true;
    form.querySelector('[role="status"]').textContent = form.dataset.busy;
  });
}
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // came back with "back": the button would stay off
});
