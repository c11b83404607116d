"""Runs the commands: ``python examples/pretrain_emoji_clip --help``."""

import sys
from pathlib import Path

if not __package__:  # Run as a folder: only the folder itself is on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pretrain_emoji_clip.commands import main

main(prog_name="pretrain_emoji_clip")
