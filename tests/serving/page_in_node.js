// Runs the page's script without a browser: the service is a real one, the document is as little of one as it needs.
// Standard input has the page's `url`, `data` of its body and `script`, and `steps`, which are run and may call:
//   say(text), read(transcript)  what people do; returns what the page says then
//   during(change, work)         work, while change(path, real) stands in the place of fetch
//   shown()                      of every turn that is shown, its emotions' probabilities
//   apart()                      the texts whose direction is their own, of every turn that is shown
//   sessionOf()                  the address of the session that was asked last
"use strict";
const told = JSON.parse(require("node:fs").readFileSync(0, "utf-8"));

class Element {
  constructor(properties = {}) {
    Object.assign(this, { children: [], handlers: {}, dataset: {}, parts: {}, textContent: "", hidden: false });
    this.classList = { add() {}, toggle() {} };
    this.style = { setProperty() {} };
    Object.assign(this, properties);
  }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  querySelector(selector) { return (this.parts[selector] ??= new Element()); }
  querySelectorAll(selector) {
    return below(this).filter((one) => one.className?.split(" ").includes(selector.slice(1)));
  }
  addEventListener(kind, handler) { this.handlers[kind] = handler; }
  setAttribute() {}
  focus() {}
  reset() {}
}

const page = new Element({ body: new Element({ dataset: told.data }) });
page.getElementById = (id) => page.querySelector(id);
page.createElement = (tag) => new Element({ tag });
globalThis.document = page;

const real = fetch;
const asked = [];
let change = null;
globalThis.fetch = (path, options) => {
  const really = () => real(new URL(path, told.url), options);
  asked.push(path);
  return change ? change(path, really) : really();
};

const status = page.getElementById("status");
// Until the handler is done, the page says that it is at work.
async function done() {
  do await new Promise((then) => setTimeout(then, 5)); while (status.textContent === "…");
  return status.textContent;
}
function say(value) {
  const elements = { speaker: { value: "Ann" }, text: { value, focus() {} } };
  page.getElementById("say").handlers.submit({ preventDefault() {}, target: { elements } });
  return done();
}
function read(value) {
  const elements = { transcript: { value } };
  page.getElementById("paste").handlers.submit({ preventDefault() {}, target: { elements } });
  return done();
}
async function during(changed, work) {
  change = changed;
  try {
    return await work();
  } finally {
    change = null;
  }
}
const below = (one) =>
  [...(one.children ?? []), ...Object.values(one.parts ?? {})].flatMap((child) => [child, ...below(child)]);
const shown = () =>
  page.getElementById("turns").children.map((turn) =>
    below(turn).filter((one) => one.title).map((one) => Number(one.title.split(" ")[1])));
const apart = () =>
  page.getElementById("turns").children.map((turn) =>
    below(turn).filter((one) => one.tag === "bdi" || one.dir === "auto").map((one) => one.textContent));
const sessionOf = () => new URL(asked.findLast((path) => path.endsWith("/turns")).slice(0, -"/turns".length), told.url);

new Function(told.script)();
const steps = new (async () => {}).constructor("say, read, during, shown, apart, sessionOf, asked, real", told.steps);
steps(say, read, during, shown, apart, sessionOf, asked, real).then((found) => console.log(JSON.stringify(found)));
