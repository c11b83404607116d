// The state that the server last sent, and who is told of it.

import { ask, say } from "./api.js";

const listeners = [];
export let state = null;
let asked = 0;
let shown = 0;

export const onState = (listener) => listeners.push(listener);

function accept(number, content) {
  // Answers may overtake each other.
  if (number < shown) return;
  shown = number;
  state = content;
  for (const listener of listeners) listener(state);
}

export async function refresh() {
  const number = ++asked;
  accept(number, await ask("/api/state"));
}

// Changes something; the page shows it once the server has it on the disk.
export async function change(path, body = {}, said = "") {
  const number = ++asked;
  try {
    const content = await ask(path, body);
    accept(number, content);
    say(said);
    return content;
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

export const isBusy = () =>
  state === null ||
  state.clip.state === "loading" ||
  (state.clip.state === "ready" &&
    state.embedded.done + Object.keys(state.embedded.unread).length < state.embedded.total) ||
  ["waiting", "training", "testing"].includes(state.training.state) ||
  ["waiting", "saving"].includes(state.saving.state);
