"""`keras-cmm studio` as users run it: in a process of its own."""

import os
import subprocess
import sys
import time

import httpx2

SECONDS = 240
CODE = "from keras_cmm_cli.main import main; main()"


class StudioProcess:
    """A running `keras-cmm studio` on the bundled CLIP.

    Args:
        arguments: Of the command, beside the port.
        preset: The CLIP, or `None` to leave `--preset` out.
    """

    def __init__(self, *arguments, preset="emoji_clip_tiny"):
        given = [*arguments, "--port", "0"] + ([] if preset is None else ["--preset", preset])
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, "studio", *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"KERAS_BACKEND": "torch"},
        )
        self.lines = []
        while not self.lines or "is open at" not in self.lines[-1]:
            line = self.process.stderr.readline()
            assert line, self.lines
            self.lines.append(line.strip())
        self.address = self.lines[-1].partition("is open at ")[2].split(" ")[0]
        self.client = httpx2.Client(
            base_url=self.address.partition("?")[0],
            headers={"x-keras-cmm-studio": "1"},
            timeout=SECONDS,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()

    def state(self):
        return self.client.get("api/state").json()

    def until(self, condition):
        """Waits until the state meets a condition; returns it."""
        deadline = time.monotonic() + SECONDS
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        return state
