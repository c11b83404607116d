"""Pre-trains a small CLIP on emoji pictures and their names, from random weights, on a CPU.

The result is the preset ``emoji_clip_tiny``. It is a keras-hub ``CLIPBackbone`` of about 5 M
parameters for 64 x 64 pictures, with its own BPE vocabulary. The pictures come from npm packages
under permissive licences, which ``NOTICE`` lists. Microsoft's Fluent emoji are never trained on:
the demo shows them as an unseen vendor, and ``evaluate`` measures on them.

Run the steps in this order. Each step can be repeated and keeps its files under ``--dir``::

    pip install keras-hub torch tokenizers pillow click resvg-py   # and npm on the PATH
    python examples/pretrain_emoji_clip download
    python examples/pretrain_emoji_clip render
    python examples/pretrain_emoji_clip train --steps 7000         # stop it at any time
    python examples/pretrain_emoji_clip train --resume
    python examples/pretrain_emoji_clip export --preset emoji_clip_tiny
    python examples/pretrain_emoji_clip evaluate --preset emoji_clip_tiny
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # An idle thread leaves its core to others.
