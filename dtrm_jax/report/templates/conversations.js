// Filters and sorts the conversations; without it, all of them are there, as in the file.
"use strict";
(() => {
  const form = document.getElementById("filter");
  const fields = form.elements;
  const cases = [...document.querySelectorAll(".case")].map((element) => ({
    element,
    turns: [...element.querySelectorAll(".t")],
  }));
  const value = (name) => (fields[name] ? fields[name].value : "");
  const checked = (name) => Boolean(fields[name] && fields[name].checked);

  function apply() {
    const wanted = { label: value("label"), prediction: value("prediction"), text: value("text").trim().toLowerCase() };
    const active = checked("wrong") || checked("shift") || wanted.label || wanted.prediction || wanted.text;
    const fits = (turn) =>
      (!checked("wrong") || turn.classList.contains("x")) &&
      (!checked("shift") || turn.classList.contains("s")) &&
      (!wanted.label || turn.dataset.l === wanted.label) &&
      (!wanted.prediction || turn.dataset.p === wanted.prediction) &&
      (!wanted.text || turn.querySelector(".w").textContent.toLowerCase().includes(wanted.text));
    let turns = 0;
    let conversations = 0;
    for (const one of cases) {
      let found = 0;
      for (const turn of one.turns) {
        const fit = !active || fits(turn);
        found += fit;
        turn.hidden = !fit && !checked("around");
        turn.classList.toggle("off", !fit);
      }
      one.element.hidden = !found;
      turns += found;
      conversations += Boolean(found);
    }
    form.querySelector("output").textContent = active ? `${turns} turns in ${conversations} conversations` : "";
  }

  // The largest number first; equal ones stay as in the file.
  function sort() {
    const key = value("order");
    const number = (one) => Number(one.element.dataset[key]);
    const sorted = key ? [...cases].sort((one, other) => number(other) - number(one)) : cases;
    document.getElementById("cases").append(...sorted.map((one) => one.element));
  }

  const setOpen = (open) => {
    for (const one of cases) if (!one.element.hidden) one.element.open = open;
  };
  form.addEventListener("input", (event) => (event.target === fields.order ? sort() : apply()));
  form.addEventListener("submit", (event) => event.preventDefault());
  fields.open.addEventListener("click", () => setOpen(true));
  fields.close.addEventListener("click", () => setOpen(false));
  const regions = document.querySelectorAll(".scroll");
  const measure = () => {
    for (const region of regions) region.classList.toggle("wide", region.scrollWidth > region.clientWidth);
  };
  window.addEventListener("resize", measure);
  measure();
  form.hidden = false;
  if (fields.order) sort(); // a browser keeps what was chosen before the page was loaded again
  apply();
})();
