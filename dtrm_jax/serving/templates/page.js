// Asks the service and shows what it answers. Everything that people or the model say becomes text, never markup.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const { sessions } = document.body.dataset;
  const [mostTurns, mostBytes] = [Number(document.body.dataset.turns), Number(document.body.dataset.bytes)];
  const classes = new Map(
    [...document.querySelectorAll("#key li")].map((item, place) => [
      item.dataset.name,
      { place, short: item.querySelector(".k").textContent },
    ]),
  );
  const EXCERPT = 60; // characters of an earlier turn that is quoted
  let turns = []; // the answers so far
  let session = null; // of a model that follows a conversation

  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    Object.assign(made, properties);
    made.append(...children);
    return made;
  }

  const percent = (share) => (100 * share).toFixed(0);
  const asGiven = ({ speaker, text }) => ({ speaker, text });

  function tell(text, wrong = false) {
    at("status").textContent = text;
    at("status").classList.toggle("no", wrong);
  }

  // What is asked.

  async function reached(answer) {
    try {
      return await answer;
    } catch {
      throw new Error("the service cannot be reached");
    }
  }

  async function ask(method, path, body) {
    const sent = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await reached(fetch(path, { method, ...sent }));
    if (response.ok) return response;
    let reason = `the service answered with status ${response.status}`;
    try {
      reason = (await response.json()).error || reason;
    } catch {
      // Not by the service, but by something before it.
    }
    throw Object.assign(new Error(reason), { status: response.status });
  }

  const answered = async (method, path, body) => reached((await ask(method, path, body)).json());

  async function* lines(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reached(reader.read());
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) {
        const answer = JSON.parse(part);
        if (answer.error) throw new Error(answer.error);
        yield answer;
      }
    }
  }

  // It may have ended by itself.
  async function end(name) {
    if (name) await ask("DELETE", `/v1/sessions/${name}`).catch(() => {});
  }

  const begun = async () => (await answered("POST", "/v1/sessions", {})).session;
  const turnsOf = (name) => ["POST", `/v1/sessions/${name}/turns`];
  const send = (name, body) => ask(...turnsOf(name), body);

  // The conversation so far, in parts that a request may have.
  function parts() {
    const found = [];
    let bytes = Infinity;
    for (const turn of turns.map(asGiven)) {
      const more = new TextEncoder().encode(JSON.stringify(turn)).length + 1;
      if (bytes + more > mostBytes || found.at(-1).length === mostTurns) {
        found.push([]);
        bytes = '{"turns":[]}'.length;
      }
      found.at(-1).push(turn);
      bytes += more;
    }
    return found;
  }

  // A new session that has heard the whole conversation so far. It ends again where it cannot be told all of it.
  async function retold() {
    const name = await begun();
    try {
      for (const part of parts()) {
        let heard = 0;
        for await (const _ of lines(await send(name, { turns: part }))) heard += 1;
        if (heard < part.length) throw new Error("the service did not answer every turn");
      }
    } catch (error) {
      await end(name);
      throw error;
    }
    return name;
  }

  // Goes on with the session; where it has ended meanwhile, with a new one that is told the conversation so far.
  async function further(turn) {
    const before = session;
    session = null; // until the answer is here: after an error nobody knows what the session has heard
    const name = before ?? (await retold());
    try {
      const answer = await answered(...turnsOf(name), turn);
      session = name;
      return answer;
    } catch (error) {
      await end(name);
      if (before && error.status === 404) return further(turn);
      throw error;
    }
  }

  async function add(turn) {
    if (!sessions) {
      const found = await answered("POST", "/v1/predict", { turns: [...turns.map(asGiven), turn] });
      turns = found.turns;
      showAll();
      return;
    }
    turns.push(await further(turn));
    append(turns.length - 1);
    refresh();
  }

  async function read(transcript) {
    if (!sessions) {
      const found = await answered("POST", "/v1/predict", { transcript });
      turns = found.turns;
      showAll();
      return;
    }
    const name = await begun();
    try {
      const response = await send(name, { transcript }); // where it is refused, what is shown goes on
      await end(session);
      session = null; // until all answers are here
      clear();
      for await (const answer of lines(response)) {
        turns.push(answer);
        append(turns.length - 1);
        refresh();
      }
      session = name;
    } catch (error) {
      await end(name);
      throw error;
    }
  }

  // What is shown.

  function clear() {
    turns = [];
    at("turns").replaceChildren();
    at("timeline").replaceChildren(element("div", { className: "names" }), element("ol"));
    at("result").hidden = true;
  }

  function showAll() {
    const shown = turns;
    clear();
    turns = shown;
    turns.forEach((_, place) => append(place));
    refresh();
  }

  function paint(made, name) {
    if (classes.has(name)) made.classList.add(`e${classes.get(name).place}`);
    return made;
  }

  function append(place) {
    const turn = turns[place];
    at("turns").append(drawn(turn, place));
    at("timeline").querySelector("ol").append(column(turn, place));
  }

  // What depends on all turns that are shown.
  function refresh() {
    at("result").hidden = !turns.length;
    if (turns[0]?.values) repaint();
    const names = [...new Set(turns.map((one) => one.speaker))];
    at("speakers").replaceChildren(...names.map((value) => element("option", { value })));
  }

  function said(turn) {
    return turn.values ? Object.entries(turn.values).map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")
      : `${turn.label} ${percent(turn.probabilities[turn.label])} %`;
  }

  function drawn(turn, place) {
    const words = element("p", { className: "w" },
      element("b", {}, element("small", { dir: "auto", textContent: turn.turn }), " ",
        element("bdi", { textContent: turn.speaker }), ":"), " ",
      element("span", { dir: "auto", textContent: turn.text }));
    const result = element("div", { className: "r" });
    const list = element("ul");
    if (turn.values) {
      for (const [name, value] of Object.entries(turn.values)) {
        list.append(element("li", {}, element("i", { className: "k" }), `${name} `,
          element("b", { textContent: value.toFixed(2) })));
      }
    } else {
      result.append(element("p", { className: "v" }, element("b", { textContent: turn.label })));
      for (const [name, share] of Object.entries(turn.probabilities)) {
        const item = paint(element("li", { textContent: `${name} ${percent(share)}`, title: `${name} ${share}` }), name);
        item.style.setProperty("--p", percent(share));
        item.classList.toggle("y", name === turn.label);
        list.append(item);
      }
    }
    result.append(list);
    const looks = Object.entries(turn.attended).filter(([, look]) => look.turn !== null);
    const several = Object.keys(turn.attended).length > 1;
    return element("li", { id: `t${place}`, className: "t", tabIndex: -1 }, words, result,
      ...looks.map(([modality, look]) => looked(modality, look, several)));
  }

  function looked(modality, look, several) {
    const place = turns.findIndex((one) => one.turn === look.turn);
    const there = turns[place];
    const excerpt = [...there.text];
    const short = excerpt.length > EXCERPT ? `${excerpt.slice(0, EXCERPT).join("")}…` : there.text;
    return element("p", { className: "a" }, `${several ? `${modality} ` : ""}attends most to `,
      element("a", { href: `#t${place}` }, element("bdi", { textContent: there.turn }), " ",
        element("bdi", { textContent: there.speaker })), " ",
      element("q", { dir: "auto", textContent: short }), ` ${percent(look.weight)}\u00a0%, itself ${percent(look.itself)}\u00a0%`);
  }

  function column(turn, place) {
    const link = element("a", { href: `#t${place}`, title: `${turn.turn} ${turn.speaker}: ${said(turn)}` });
    link.setAttribute("aria-label", link.title);
    if (turn.values) {
      link.append(element("span", { className: "cells" },
        ...Object.values(turn.values).map(() => element("i"))));
    } else {
      const bars = Object.entries(turn.probabilities).map(([name, share]) => {
        const bar = paint(element("i"), name);
        bar.style.setProperty("--p", share);
        return bar;
      });
      const mark = paint(element("span", { className: "k" }), turn.label);
      mark.textContent = classes.get(turn.label)?.short ?? "";
      link.append(element("span", { className: "column" }, ...bars), mark);
    }
    link.append(element("small", { textContent: turn.turn }));
    return element("li", {}, link);
  }

  // The colours of real values depend on all that are shown: zero has the middle one where both signs occur.
  function repaint() {
    const COLOURS = 11;
    const rows = [...at("timeline").querySelectorAll(".cells")];
    const chips = [...at("turns").querySelectorAll(".r")].map((one) => one.querySelectorAll(".k"));
    const names = Object.keys(turns[0].values);
    at("timeline").querySelector(".names").replaceChildren(...names.map((name) => element("span", { textContent: name })));
    at("ranges").replaceChildren(...names.map((name, row) => {
      const values = turns.map((turn) => turn.values[name]);
      const [least, most] = [Math.min(...values), Math.max(...values)];
      const far = Math.max(-least, most);
      const [low, high, letter] = least < 0 && most > 0 ? [-far, far, "d"] : [least, most > least ? most : least + 1, "q"];
      const colour = (value) =>
        `${letter}${Math.min(Math.max(Math.floor(((value - low) / (high - low)) * COLOURS), 0), COLOURS - 1)}`;
      values.forEach((value, index) => {
        rows[index].children[row].className = colour(value);
        chips[index][row].className = `k ${colour(value)}`;
      });
      const end = (value) => [element("i", { className: `k ${colour(value)}` }), ` ${value.toFixed(2)}`];
      return element("li", {}, `${name}: `, ...end(least), " to ", ...end(most));
    }));
  }

  // What people do. One thing at a time: while it is asked, the buttons rest.

  async function during(work) {
    const buttons = document.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    tell("…");
    try {
      await work();
      tell(turns.length ? `${turns.length} ${turns.length === 1 ? "turn" : "turns"}` : "");
      return true;
    } catch (error) {
      tell(error.message, true);
      return false;
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  }

  clear();
  if (!at("say")) return;
  at("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { speaker, text } = event.target.elements;
    if (await during(() => add({ speaker: speaker.value.trim(), text: text.value.trim() }))) {
      text.value = "";
      at("timeline").scrollLeft = at("timeline").scrollWidth;
    }
    text.focus();
  });
  at("paste").addEventListener("submit", (event) => {
    event.preventDefault();
    during(() => read(event.target.elements.transcript.value));
  });
  at("clear").addEventListener("click", () => during(async () => {
    await end(session);
    session = null;
    clear();
    at("paste").reset();
  }));
})();
