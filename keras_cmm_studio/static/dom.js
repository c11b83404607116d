// Making elements. Texts become text nodes, so that no name is ever read as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const button = (text, onclick, properties = {}) =>
  make("button", { type: "button", onclick, ...properties }, text);

// Rounded, but with a digit more near 0 and 1, where it tells something.
export function percent(part) {
  const digits = (part > 0.99 && part < 0.9995) || (part < 0.01 && part >= 0.0005) ? 1 : 0;
  return `${(100 * part).toFixed(digits)}\u00a0%`;
}

export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// Brings the children of an element to a list of items, without losing those that stay: focus and
// pictures are kept.
export function keyed(parent, items, key, create, update = () => {}) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}
