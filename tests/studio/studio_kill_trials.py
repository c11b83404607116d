"""Kills `keras-cmm studio` at random moments, and looks for changes that were answered and lost.

`python -W ignore tests/studio/studio_kill_trials.py --runs 20` prints what was found. Each run
begins a process on the same project, makes changes as fast as they are answered, and ends it by
SIGKILL.
"""

import argparse
import random
import signal
import tempfile
import threading
from pathlib import Path

import httpx2
from studio_pictures import png
from studio_process import StudioProcess


def holds(state):
    """What a state says: each class with the names of its images, and the unlabelled ones."""
    classes = {each["name"]: {image["name"] for image in each["images"]}
               for each in state["classes"]}  # fmt: skip
    return classes | {None: {image["name"] for image in state["unlabelled"]}}


def change(client, rng, state, number):
    """Makes one random change; returns the state that was answered."""
    classes = [each["id"] for each in state["classes"]]
    images = [image["name"] for each in state["classes"] for image in each["images"]]
    kinds = ["class"] + ["images"] * 5 * bool(classes) + ["move", "remove"] * bool(images)
    kinds += (
        ["rename"] * bool(classes) + ["undo"] * bool(state["undo"]) + ["redo"] * bool(state["redo"])
    )
    kind = rng.choice(kinds)
    if kind == "class":
        return client.post("api/classes", json={"names": [f"class {number}"]})
    if kind == "images":
        files = [("file", (f"{number}.png", png(10_000 * number + k))) for k in range(3)]
        place = rng.choice([f"api/classes/{rng.choice(classes)}/images", "api/unlabelled/images"])
        return client.post(place, files=files)
    if kind == "move":
        return client.post(
            "api/images/move",
            json={"images": [rng.choice(images)], "class_id": rng.choice(classes)},
        )
    if kind == "remove":
        return client.post("api/images/remove", json={"images": [rng.choice(images)]})
    if kind == "rename":
        return client.post(
            f"api/classes/{rng.choice(classes)}/rename", json={"name": f"named {number}"}
        )
    return client.post(f"api/{kind}", json={})


def trial(folder, rng, number, seconds):
    """Runs one process until it is killed.

    Returns:
        What the last answer said, its revision, and how many changes were answered.
    """
    with StudioProcess("--project", folder, preset="emoji_clip_tiny") as studio:
        state = studio.state()
        answered = 0
        timer = threading.Timer(seconds, studio.process.send_signal, [signal.SIGKILL])
        timer.start()
        try:
            while True:
                answer = change(studio.client, rng, state, 1000 * number + answered)
                if answer.status_code == 200:
                    state, answered = answer.json(), answered + 1
        except httpx2.TransportError:
            pass
        finally:
            timer.cancel()
        assert studio.process.wait(60) == -signal.SIGKILL
        return holds(state), state["revision"], answered


def check(folder, expected, revision):
    """Opens a project as the next process does; raises an error if an answered change is lost."""
    from keras_cmm_studio import Project

    with Project(folder) as project:
        state = project.state
        # One change may have been written whose answer was cut off.
        assert revision <= project.revision <= revision + 1, (revision, project.revision)
        found = {each.name: {image.name for image in state.images_of(each.id)}
                 for each in state.classes}  # fmt: skip
        found[None] = {image.name for image in state.images_of(None)}
        if project.revision == revision:
            assert found == expected
        for name in state.images:
            assert project.read(name).startswith(b"\x89PNG")
        placed = {path.name for place in ("images", "unlabelled")
                  for path in (folder / place).rglob("*.png")}  # fmt: skip
        assert placed == set(state.images)
        return project.revision == revision


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    changes = unanswered = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        for number in range(arguments.runs):
            expected, revision, answered = trial(folder, rng, number, rng.uniform(0.2, 4))
            unanswered += not check(folder, expected, revision)
            changes += answered
            print(f"run {number + 1}: {answered} changes answered, none lost", flush=True)
    print(f"{arguments.runs} kills, {changes} changes answered, 0 lost; "
          f"{unanswered} more were written whose answer was cut off")  # fmt: skip


if __name__ == "__main__":
    main()
