// Getting pictures: dropped, picked or from the camera; and sending them.

import { say } from "./api.js";
import { button, byId, counted, make } from "./dom.js";
import { change, state } from "./store.js";

// Lets a card take pictures in all three ways. `take` gets a list of files.
export function takesPictures(card, buttons, take, many = true) {
  const input = make("input", {
    type: "file", accept: "image/*,.heic,.tif,.tiff", multiple: many, hidden: true, tabIndex: -1,
    onchange: () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) take(files);
    },
  });
  buttons.append(
    button(many ? "Add images" : "Choose a picture", () => input.click()),
    button("Camera", () => openCamera(take)),
    input,
  );
  let depth = 0;
  const show = (number) => {
    depth = Math.max(0, number);
    card.classList.toggle("over", depth > 0);
  };
  const withFiles = (event) => event.dataTransfer?.types.includes("Files");
  card.addEventListener("dragenter", (event) => withFiles(event) && show(depth + 1));
  card.addEventListener("dragleave", (event) => withFiles(event) && show(depth - 1));
  card.addEventListener("dragover", (event) => withFiles(event) && event.preventDefault());
  card.addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    show(0);
    const files = [...event.dataTransfer.files];
    if (files.length) take(many ? files : files.slice(0, 1));
  });
}

export const formOf = (files) => {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return form;
};

// Sends files in requests that the server takes, and says which it refused.
export async function upload(path, files) {
  const limits = state.limits;
  const refused = [];
  let added = 0;
  let done = 0;
  const batches = [[]];
  let size = 0;
  for (const file of files) {
    const last = batches.at(-1);
    if (last.length >= Math.min(16, limits.images_a_request) ||
        (last.length && size + file.size > limits.bytes_a_request / 2)) {
      batches.push([]);
      size = 0;
    }
    batches.at(-1).push(file);
    size += file.size;
  }
  for (const batch of batches) {
    if (files.length > batch.length) say(`Adding images: ${done} of ${files.length}`);
    const content = await change(path, formOf(batch));
    if (!content) return;
    added += content.added.length;
    refused.push(...content.refused);
    done += batch.length;
  }
  if (!refused.length) return say("");
  const shown = refused.slice(0, 3).map((each) => each.reason).join(" ");
  const more = refused.length > 3 ? ` And ${refused.length - 3} more.` : "";
  say(`Added ${counted(added, "image")}; ${refused.length} not: ${shown}${more}`, true);
}

async function openCamera(take) {
  const dialog = byId("camera-dialog");
  const video = byId("camera-video");
  const text = byId("camera-text");
  const shoot = byId("camera-shoot");
  let stream = null;
  let number = 0;
  text.textContent = "Waiting for the camera.";
  video.hidden = true;
  shoot.disabled = true;
  dialog.showModal();
  const end = () => stream?.getTracks().forEach((track) => track.stop());
  dialog.addEventListener("close", end, { once: true });
  byId("camera-close").onclick = () => dialog.close();
  if (!navigator.mediaDevices?.getUserMedia) {
    text.textContent = "The browser gives no camera to this address. It does at " +
      "http://127.0.0.1, on the machine that runs the studio. You can add image files.";
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    text.textContent = error.name === "NotAllowedError"
      ? "The camera is not allowed. Allow it in the browser's bar of addresses, or add image files."
      : "No camera was found. Connect one, or add image files.";
    return;
  }
  if (!dialog.open) return end();
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  text.textContent = "Take as many pictures as you like.";
  shoot.disabled = false;
  shoot.onclick = async () => {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    number += 1;
    text.textContent = `Took ${counted(number, "picture")}.`;
    await take([new File([blob], `camera-${number}.jpg`, { type: "image/jpeg" })]);
  };
}

