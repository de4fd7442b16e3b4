// What JavaScript adds; every page reads and works without it.
"use strict";

// -- the overview, live: the server sends the parts that have changed as HTML that its templates escaped
const pulse = document.getElementById("pulse");
const TOO_OLD_MS = 20000; // four events have not come
const AGAIN_MS = 15000; // the server had no room, or is away

if (pulse && window.EventSource) {
  const word = document.getElementById("pulse-word");
  const at = document.getElementById("pulse-at");
  const shown = new Map();
  let source = null;
  let heardAt = Date.now();
  let toldAt = at.textContent.replace("as of ", "");

  const say = (state) => {
    if (pulse.dataset.state === state) return;
    pulse.dataset.state = state;
    word.textContent = state === "live" ? "live" : "stale since";
    if (state === "stale") at.textContent = toldAt;
  };

  const put = (name, html) => {
    const section = document.getElementById(name);
    if (!section || shown.get(name) === html) return;
    const chosen = document.getSelection();
    // Whoever is copying something keeps what they see; the next event brings it up to date.
    if (chosen && !chosen.isCollapsed && section.contains(chosen.anchorNode)) return;
    const held = section.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    shown.set(name, html);
    section.innerHTML = html;
    offerCopies(section);
    if (held) {
      const again = [...section.querySelectorAll("a")].find((link) => link.getAttribute("href") === held);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const hear = (event) => {
    const told = JSON.parse(event.data);
    const before = document.getElementById("sentence")?.textContent.trim();
    for (const [name, html] of Object.entries(told.sections)) put(name, html);
    const sentence = document.getElementById("sentence")?.textContent.trim();
    if (sentence !== before) {
      document.getElementById("announce").textContent = sentence;
      document.title = `${sentence} · meta-webhook-gateway`;
    }
    heardAt = Date.now();
    toldAt = new Date(told.at_ms).toISOString().slice(0, 19).replace("T", " ") + " UTC";
    at.textContent = toldAt;
    say("live");
  };

  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource(pulse.dataset.events);
    source.onmessage = hear;
    source.onerror = () => {
      // The browser tries again by itself, unless it was refused.
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, AGAIN_MS);
      }
      if (Date.now() - heardAt > TOO_OLD_MS) say("stale");
    };
  };

  // A tab that nobody sees holds no connection: browsers have six for a host, and the gateway a few more.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      listen();
    }
  });
  setInterval(() => {
    if (!document.hidden && Date.now() - heardAt > TOO_OLD_MS) say("stale");
  }, 1000);
  listen();
}

// -- long ids and addresses: a button that copies the whole
function offerCopies(within) {
  if (!navigator.clipboard) return;
  for (const text of within.querySelectorAll("[data-copy]")) {
    if (text.closest("a, button, .changes") || text.nextElementSibling?.classList.contains("copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `Copy ${text.dataset.copy}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.dataset.copy);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    text.after(button);
  }
}
offerCopies(document);

// -- the list of dead letters: one box for all, and how many are chosen
for (const all of document.querySelectorAll("[data-all]")) {
  const boxes = [...document.getElementsByName(all.dataset.all)];
  const chosen = document.querySelector("[data-chosen]");
  const count = () => {
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number === boxes.length;
    all.indeterminate = number > 0 && number < boxes.length;
    if (chosen) chosen.textContent = `${number} of ${boxes.length} chosen`;
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  for (const box of boxes) box.addEventListener("change", count);
  count();
}
