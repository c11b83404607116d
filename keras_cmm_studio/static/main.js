// The page: starts its parts and asks the server for news.

import { say } from "./api.js";
import { byId } from "./dom.js";
import { startClasses } from "./classes.js";
import { change, isBusy, onState, refresh, state } from "./store.js";
import { startTraining } from "./training.js";
import { startTrying } from "./trying.js";

const QUICK = 400;
const SLOW = 3000;

function showHeader() {
  const clip = byId("clip");
  const { done, total, unread } = state.embedded;
  const left = total - done - Object.keys(unread).length;
  let text = `${state.preset} is ready`;
  if (state.clip.state === "loading") text = "loading CLIP …";
  else if (state.clip.state === "failed") text = `CLIP cannot be loaded: ${state.clip.message}`;
  else if (left > 0) text = `looking at images: ${done} of ${total}`;
  if (clip.textContent !== text) clip.textContent = text;
  clip.classList.toggle("bad", state.clip.state === "failed");
  for (const [id, step] of [["undo", state.undo], ["redo", state.redo]]) {
    byId(id).disabled = !step;
    byId(id).title = step ?? "";
  }
}

async function history(which) {
  const what = state[which];
  if (what) await change(`/api/${which}`, {}, `${which === "undo" ? "Undone" : "Done again"}: ${what}.`);
}

let isLost = false;
let last = 0;

async function watch() {
  if ((isBusy() && !isLost) || Date.now() - last > SLOW) {
    last = Date.now();
    try {
      await refresh();
      if (isLost) say("");
      isLost = false;
    } catch (error) {
      isLost = true;
      say(error.message, true);
    }
  }
  setTimeout(watch, QUICK);
}

for (const which of ["undo", "redo"]) byId(which).addEventListener("click", () => history(which));
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input:not([type=checkbox]), select, dialog");
  if (isTyping || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  history(event.shiftKey ? "redo" : "undo");
});
// A picture that is dropped beside a card must not replace the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
onState(showHeader);
startClasses();
startTraining();
startTrying();
watch();
