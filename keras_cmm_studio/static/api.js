// Talking to the server.

import { byId } from "./dom.js";

export async function ask(path, body) {
  const options = { headers: {} };
  if (body instanceof FormData) Object.assign(options, { method: "POST", body });
  else if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The studio does not answer. Is it still running in its terminal?");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `The studio answered ${answer.status}.`);
  return content;
}

export function say(text, isBad = false) {
  const message = byId("message");
  message.textContent = text;
  message.classList.toggle("bad", isBad);
  message.hidden = !text;
}

export const imageAddress = (name) => `/api/images/${encodeURIComponent(name)}`;
