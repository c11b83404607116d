// Training, what the test found, and saving.

import { button, byId, counted, make, percent } from "./dom.js";
import { imageByName, move, thumb } from "./classes.js";
import { change, onState, state } from "./store.js";

const kept = new Set();
let shownTest = "";

const nameOf = (id) => state.classes.find((each) => each.id === id)?.name ?? "a removed class";

function whatIsMissing() {
  if (state.classes.length < 2) return "Name two classes or more first.";
  if (!state.classes.some((each) => each.images.length)) return "Add images to the classes first.";
  return "";
}

function showTraining() {
  const { training, clip, trained } = state;
  const running = ["waiting", "training", "testing"].includes(training.state);
  const missing = whatIsMissing();
  const images = state.classes.reduce((sum, each) => sum + each.images.length, 0);
  const train = byId("train");
  train.disabled = Boolean(missing) || clip.state === "failed" || running;
  train.textContent = trained?.images && !trained.is_current ? "Train again" : "Train";
  const empty = state.classes.filter((each) => !each.images.length).length;
  let hint = missing;
  if (!missing && training.state === "failed") hint = `It failed: ${training.message}`;
  else if (!missing && trained?.is_current) hint = `Trained on ${counted(trained.images, "image")}.`;
  else if (!missing && trained) hint = "Something has changed since. Train again.";
  else if (!missing) hint = `${counted(images, "image")} of ${state.classes.length} classes.`;
  if (!missing && empty) hint += ` ${empty} without images ${empty === 1 ? "is" : "are"} told by name.`;
  byId("training-hint").textContent = hint;
  byId("progress").hidden = !running;
  byId("progress-bar").value = training.part ?? 0;
  const waits = clip.state === "loading" ? "waiting for CLIP to load" : "waiting for the images";
  const text = training.state === "waiting" ? waits : training.message;
  // Only changes are read aloud.
  if (byId("progress-text").textContent !== text) byId("progress-text").textContent = text;
}

function showTest() {
  const test = state.test;
  byId("test").hidden = !test;
  const now = JSON.stringify([test, state.classes.map((each) => each.name), [...kept]]);
  if (!test || now === shownTest) return;
  shownTest = now;
  byId("accuracy").textContent = test.tested ? `${test.accuracy.toFixed(0)} %` : "?";
  byId("interval").textContent = test.tested
    ? `right; between ${test.low.toFixed(0)} and ${test.high.toFixed(0)} %` : "";
  let note = test.tested
    ? `${test.right} of ${counted(test.tested, "image")}, each named by a classifier that was ` +
      "trained without it. The interval holds 95 times in 100."
    : "A second image of each class would let it be tested.";
  if (test.tested && test.not_tested) {
    note += ` ${test.not_tested} not tested: the only image of its class.`;
  }
  byId("test-note").textContent = note;
  const rows = test.confusions.slice(0, 6).map((each) => make("tr", {},
    make("th", { scope: "row" }, `${nameOf(each.label)} taken for ${nameOf(each.prediction)}`),
    make("td", {}, `${each.count} ×`)));
  byId("confusions").replaceChildren(...(rows.length
    ? [make("h4", {}, "What it mixes up"), make("table", {}, make("tbody", {}, ...rows))] : []));
  const items = test.suspicious.filter((each) => !kept.has(each.image)).slice(0, 6).map((each) => {
    const other = nameOf(each.prediction);
    return make("li", { class: "asked" }, thumb(imageByName(each.image)), make("div", {},
      make("p", {}, `In ${nameOf(each.class_id)}, but looks like ${other} (${percent(each.probability)}).`),
      make("div", { class: "buttons" },
        button(`Move to ${other}`, () => move(each.image, each.prediction)),
        button("It is right", () => { kept.add(each.image); showTest(); }))));
  });
  byId("suspicious").replaceChildren(...(items.length
    ? [make("h4", {}, "Labels to look at"), make("ul", { class: "plain" }, ...items)] : []));
}

function showSaving() {
  const { saving, trained } = state;
  byId("saving").hidden = !trained?.images && !state.has_model;
  const running = ["waiting", "saving"].includes(saving.state);
  byId("save").disabled = running || !trained?.images;
  for (const id of ["zip", "onnx"]) byId(id).hidden = !state.has_model || running;
  let text = "";
  if (running) text = "Saving …";
  else if (saving.state === "failed") text = `It failed: ${saving.message}`;
  else if (trained?.is_saved) text = "Saved in the folder “model” of the project.";
  else if (state.has_model) text = "The saved model is of an earlier training.";
  if (byId("save-text").textContent !== text) byId("save-text").textContent = text;
}

export function startTraining() {
  byId("train").addEventListener("click", () => change("/api/train"));
  byId("save").addEventListener("click", () => change("/api/save"));
  onState(() => {
    showTraining();
    showTest();
    showSaving();
  });
}
