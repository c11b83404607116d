// Trying new pictures.

import { ask } from "./api.js";
import { byId, make, percent } from "./dom.js";
import { formOf, takesPictures } from "./pictures.js";
import { onState, state } from "./store.js";

let current = null;
let found = null;
let shownFor = "";
let number = 0;

async function show(file) {
  const own = ++number;
  current = file;
  shownFor = version();
  found = null;
  const place = byId("try-result");
  if (state.clip.state === "loading") {
    place.replaceChildren(make("p", { class: "hint" }, `${file.name} waits for CLIP to load.`));
    return;
  }
  const address = URL.createObjectURL(file);
  try {
    const answer = await ask("/api/try", formOf([file]));
    if (own !== number) return;
    found = answer;
    const picture = make("img", { src: address, alt: `The picture ${file.name}` });
    const figures = make("div", { class: "tried" },
      make("figure", {}, picture, make("figcaption", {}, file.name)));
    const by = found.is_trained
      ? "By the trained classifier." : "By the names alone: nothing is trained yet.";
    const why = make("p", { class: "hint" }, "Looking for the places that speak for it …");
    place.replaceChildren(figures, make("div", { id: "answers" }), make("p", { class: "hint" }, by), why);
    showAnswers();
    await explain(file, found.predictions[0].class, figures, why, own);
  } catch (error) {
    if (own !== number) return;
    found = null;
    place.replaceChildren(make("p", { class: "hint", role: "alert" }, error.message));
  }
}

function showAnswers() {
  if (!found) return;
  const answers = found.predictions.map((each) => make("div", { class: "answer" },
    make("span", {}, each.class), make("span", {}, percent(each.probability)),
    make("progress", {
      class: "bar", max: 1, value: each.probability,
      "aria-label": `Probability of ${each.class}`,
    })));
  if (!found.is_unknown || !byId("none").checked) {
    byId("answers").replaceChildren(...answers);
    return;
  }
  byId("answers").replaceChildren(make("p", { class: "none" }, "None of these"),
    make("p", { class: "hint" }, `${whyNone()} Of your classes, the most probable is:`),
    make("div", {}, answers[0]));
}

function whyNone() {
  const reject = state.trained?.reject;
  if (!reject) return "";
  const { rate, held_out: tested } = reject;
  const surer = tested + 1 - Math.floor(rate * (tested + 1) + 1e-9);
  const most = surer === tested ? `all ${tested}` : `${surer} of the ${tested}`;
  return `The classifier is less sure of it than of ${most} images that were left out to test it.`;
}

function showNote() {
  const reject = state.trained?.reject;
  const testing = state.training.state === "testing";
  let note = "Works once a classifier is trained on two images or more of a class.";
  if (testing) note = "Works after the test on left-out images.";
  if (reject) {
    note = `At most about 1 in ${Math.floor(1 / reject.rate + 1e-9)} new pictures like your own images is ` +
      `turned away too.${reject.rate > 0.05 ? " With 19 images or more it is 1 in 20." : ""}`;
  }
  if (byId("none-note").textContent !== note) byId("none-note").textContent = note;
}

async function explain(file, name, figures, why, own) {
  const answer = await ask(`/api/explain?class=${encodeURIComponent(name)}`, formOf([file]));
  if (own !== number) return;
  if (answer.heat_map) {
    figures.append(make("figure", {},
      make("img", { id: "heat", src: answer.heat_map, alt: `Heat map: what speaks for ${name}` }),
      make("figcaption", {}, `What speaks for ${name}: yellow most, blue nothing`)));
  }
  const near = answer.nearest?.[0];
  why.textContent = answer.reason ??
    (near ? `Most like an image of ${near.class} (similarity ${near.similarity.toFixed(2)}).` : "");
  why.hidden = !why.textContent;
}

const version = () => JSON.stringify(
  [state.clip.state, state.trained?.images, state.trained?.is_current, state.training.state === "testing",
    state.trained ? 0 : state.classes.map((each) => each.name)]);

export function startTrying() {
  takesPictures(byId("try-card"), byId("try-buttons"), ([file]) => show(file), false);
  byId("none").addEventListener("change", showAnswers);
  onState(() => {
    showNote();
    // After a training the same picture is asked about again.
    if (current && version() !== shownFor && state.clip.state === "ready") show(current);
  });
}
