// Trying new pictures.

import { ask } from "./api.js";
import { byId, make, percent } from "./dom.js";
import { formOf, takesPictures } from "./pictures.js";
import { onState, state } from "./store.js";

let current = null;
let shownFor = "";
let number = 0;

async function show(file) {
  const own = ++number;
  current = file;
  shownFor = version();
  const place = byId("try-result");
  if (state.clip.state === "loading") {
    place.replaceChildren(make("p", { class: "hint" }, `${file.name} waits for CLIP to load.`));
    return;
  }
  const address = URL.createObjectURL(file);
  try {
    const found = await ask("/api/try", formOf([file]));
    if (own !== number) return;
    const picture = make("img", { src: address, alt: `The picture ${file.name}` });
    const figures = make("div", { class: "tried" },
      make("figure", {}, picture, make("figcaption", {}, file.name)));
    const answers = found.predictions.map((each) => make("div", { class: "answer" },
      make("span", {}, each.class), make("span", {}, percent(each.probability)),
      make("progress", {
        class: "bar", max: 1, value: each.probability,
        "aria-label": `Probability of ${each.class}`,
      })));
    const by = found.is_trained
      ? "By the trained classifier." : "By the names alone: nothing is trained yet.";
    const why = make("p", { class: "hint" }, "Looking for the places that speak for it …");
    place.replaceChildren(figures, make("div", { id: "answers" }, ...answers),
      make("p", { class: "hint" }, by), why);
    await explain(file, found.predictions[0].class, figures, why, own);
  } catch (error) {
    if (own === number) place.replaceChildren(make("p", { class: "hint", role: "alert" }, error.message));
  }
}

async function explain(file, name, figures, why, own) {
  const found = await ask(`/api/explain?class=${encodeURIComponent(name)}`, formOf([file]));
  if (own !== number) return;
  if (found.heat_map) {
    figures.append(make("figure", {},
      make("img", { id: "heat", src: found.heat_map, alt: `Heat map: what speaks for ${name}` }),
      make("figcaption", {}, `What speaks for ${name}: yellow most, blue nothing`)));
  }
  const near = found.nearest?.[0];
  why.textContent = found.reason ??
    (near ? `Most like an image of ${near.class} (similarity ${near.similarity.toFixed(2)}).` : "");
  why.hidden = !why.textContent;
}

const version = () => JSON.stringify(
  [state.clip.state, state.trained?.images, state.trained?.is_current, state.training.state === "testing",
    state.trained ? 0 : state.classes.map((each) => each.name)]);

export function startTrying() {
  takesPictures(byId("try-card"), byId("try-buttons"), ([file]) => show(file), false);
  onState(() => {
    // After a training the same picture is asked about again.
    if (current && version() !== shownFor && state.clip.state === "ready") show(current);
  });
}
