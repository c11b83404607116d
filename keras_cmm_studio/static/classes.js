// The classes with their images, and the unlabelled images.

import { ask, imageAddress, say } from "./api.js";
import { button, byId, counted, keyed, make, percent } from "./dom.js";
import { takesPictures, upload } from "./pictures.js";
import { change, isBusy, onState, state } from "./store.js";

export function thumb(image) {
  return make(
    "button",
    {
      type: "button", class: "thumb", title: image.original ?? "",
      "aria-label": `Image ${image.original ?? ""}: change its class or remove it`,
      onclick: () => openImage(image),
      onkeydown: (event) => {
        if (event.key === "Delete") change("/api/images/remove", { images: [image.name] });
      },
    },
    make("img", { src: imageAddress(image.name), alt: "", loading: "lazy", draggable: false }),
  );
}

export function imageByName(name) {
  for (const group of [...state.classes, { images: state.unlabelled }]) {
    const found = group.images.find((image) => image.name === name);
    if (found) return found;
  }
  return { name, original: "" };
}

function showThumbs(list, images) {
  keyed(list, images, (image) => image.name, (image) => make("li", {}, thumb(image)),
    (item, image) => {
      const reason = state.embedded.unread[image.name];
      item.firstElementChild.classList.toggle("bad", Boolean(reason));
      if (reason) item.firstElementChild.title = reason;
    });
}

function classCard(each) {
  const name = make("input", {
    value: each.name, maxLength: 100, "aria-label": "Name of the class", autocomplete: "off",
    onchange: async () => {
      if (name.value.trim() && name.value !== name.dataset.saved) {
        await change(`/api/classes/${each.id}/rename`, { name: name.value });
      }
      name.value = name.dataset.saved;
    },
    onkeydown: (event) => event.key === "Enter" && name.blur(),
  });
  const buttons = make("div", { class: "buttons" });
  const list = make("ul", { class: "thumbs plain" });
  const remove = button("Remove", () => change(`/api/classes/${each.id}/remove`),
    { class: "icon" });
  const card = make("li", { class: "card" },
    make("div", { class: "card-head" }, name, make("span", { class: "count" }), remove),
    list, buttons);
  takesPictures(card, buttons, (files) => upload(`/api/classes/${each.id}/images`, files));
  return card;
}

function updateCard(card, each) {
  const name = card.querySelector("input");
  name.dataset.saved = each.name;
  if (document.activeElement !== name) name.value = each.name;
  card.querySelector(".icon").setAttribute("aria-label", `Remove the class ${each.name}`);
  card.querySelector(".count").textContent = counted(each.images.length, "image");
  const list = card.querySelector(".thumbs");
  list.setAttribute("aria-label", `Images of ${each.name}`);
  showThumbs(list, each.images);
}

function openImage(image) {
  const dialog = byId("image-dialog");
  const choice = byId("image-class");
  byId("image-title").textContent = image.original || "Image";
  byId("image-large").src = imageAddress(image.name);
  const of = state.classes.find((each) => each.images.some((own) => own.name === image.name));
  choice.replaceChildren(
    make("option", { value: "" }, "unlabelled"),
    ...state.classes.map((each) => make("option", { value: String(each.id) }, each.name)),
  );
  choice.value = of ? String(of.id) : "";
  choice.onchange = async () => {
    await move(image.name, choice.value ? Number(choice.value) : null);
    dialog.close();
  };
  byId("image-remove").onclick = async () => {
    await change("/api/images/remove", { images: [image.name] });
    dialog.close();
  };
  byId("image-close").onclick = () => dialog.close();
  dialog.showModal();
}

export const move = (name, id, said = "") =>
  change("/api/images/move", { images: [name], class_id: id }, said);

let suggestedFor = "";

async function showSuggestions() {
  const place = byId("suggestions");
  const ready = state.clip.state === "ready" && state.unlabelled.length && state.classes.length > 1;
  if (!ready || isBusy()) {
    if (!state.unlabelled.length) place.replaceChildren();
    return;
  }
  const now = `${state.revision} ${state.training.state} ${state.trained?.images}`;
  if (now === suggestedFor) return;
  suggestedFor = now;
  let found;
  try {
    found = await ask("/api/suggestions");
  } catch {
    return;
  }
  const rule = found.rule === "cover"
    ? "Label these next: they tell the classifier most."
    : "Label these next: some of each class, as their names find them.";
  const items = found.images.slice(0, 4).map((each) => {
    const image = imageByName(each.image);
    const buttons = make("div", { class: "buttons" });
    if (each.class_id !== null) {
      buttons.append(button(`Yes, ${each.class}`, () => move(each.image, each.class_id)));
    }
    const other = make("select", {
      "aria-label": "Another class",
      onchange: () => other.value && move(each.image, Number(other.value)),
    }, make("option", { value: "" }, "Another …"),
    ...state.classes.filter((one) => one.id !== each.class_id)
      .map((one) => make("option", { value: String(one.id) }, one.name)));
    buttons.append(other);
    return make("li", { class: "asked" }, thumb(image),
      make("div", {}, make("p", {}, `Is this ${each.class}? (${percent(each.probability)})`), buttons));
  });
  place.replaceChildren(
    make("p", { class: "hint" }, rule), make("ul", { class: "plain" }, ...items));
}

export function startClasses() {
  const form = byId("add-class");
  const input = byId("class-name");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const names = input.value.split(",").map((name) => name.trim()).filter(Boolean);
    if (!names.length) return say("Write the name of a class first.", true);
    if (await change("/api/classes", { names })) input.value = "";
    input.focus();
  });
  takesPictures(byId("unlabelled"), byId("unlabelled-buttons"),
    (files) => upload("/api/unlabelled/images", files));
  onState(() => {
    keyed(byId("class-list"), state.classes, (each) => each.id, classCard, updateCard);
    byId("unlabelled-count").textContent =
      state.unlabelled.length ? counted(state.unlabelled.length, "image") : "";
    showThumbs(byId("unlabelled-thumbs"), state.unlabelled);
    showSuggestions();
  });
}
