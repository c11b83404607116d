"""Where this package keeps what it can make again."""

import os
from pathlib import Path


def home_folder() -> Path:
    """Returns the folder `KERAS_CMM_HOME`, or keras-cmm's folder of the user's caches."""
    home = os.environ.get("KERAS_CMM_HOME")
    if home:
        return Path(home)
    from platformdirs import user_cache_path

    return user_cache_path("keras-cmm", appauthor=False)
