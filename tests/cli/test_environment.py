import json
import os
import subprocess
import sys

import pytest

from keras_cmm.clip import TextEmbedder, load
from keras_cmm_cli.environment import choose_backend, hide_tensorflow, wait_passively

KERAS_JSON = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Set first, so that monkeypatch takes away what `choose_backend` sets.
    monkeypatch.setenv("KERAS_BACKEND", "")
    return tmp_path


def chosen():
    choose_backend()
    return os.environ["KERAS_BACKEND"]


def test_torch_without_any_choice(home):
    assert chosen() == "torch"


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", json.dumps(KERAS_JSON)])
def test_torch_with_a_file_that_is_no_choice(home, text):
    (home / "keras.json").write_text(text)
    assert chosen() == "torch"


@pytest.mark.parametrize("change", [{"backend": "jax"}, {"epsilon": 1e-6}])
def test_keras_json_of_the_user(home, change):
    (home / "keras.json").write_text(json.dumps(KERAS_JSON | change))
    assert chosen() == ""


def test_the_variable_comes_first(home, monkeypatch):
    (home / "keras.json").write_text(json.dumps(KERAS_JSON | {"backend": "torch"}))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert chosen() == "jax"


def test_a_new_user_has_torch_every_time_and_sees_no_noise(home):
    code = (
        "from keras_cmm_cli.environment import load_keras\n"
        "load_keras(tensorflow=True)\n"
        "import sys, keras, tensorflow\n"
        "print(keras.backend.backend(), tensorflow.config.get_visible_devices('GPU'))\n"
        "print('heard', file=sys.stderr)\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment | {"KERAS_HOME": str(home)},
    )
    assert (ran.stdout, ran.stderr) == ("torch []\n", "heard\n")
    # What Keras wrote at its first import must not be taken for the user's choice.
    assert json.loads((home / "keras.json").read_text()) == KERAS_JSON
    assert chosen() == "torch"


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "model", "1.png"],
        ["datasets", "show", "dtd"],
        ["datasets", "check", "dtd", "--data-dir", "model"],
    ],
)
def test_a_backend_that_does_not_exist(tmp_path, arguments):
    code = "from keras_cmm_cli.main import main; main()"
    (tmp_path / "model").mkdir()
    (tmp_path / "1.png").touch()
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "torhc"},
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("Error: Keras cannot be loaded")
    assert "torhc" in line


def test_commands_do_without_tensorflow():
    """Their tokenizers give the same tokens, and what needs TensorFlow still gets it."""
    texts = ["a photo of a cat.", "naïve  Café, it's 2 o'clock"]
    code = (
        "import sys\n"
        "from keras_cmm_cli.environment import hide_tensorflow, load_keras\n"
        "hide_tensorflow()\n"
        "load_keras()\n"
        "from keras_cmm import clip\n"
        "from keras_cmm.models import CMMImageClassifier\n"
        "model = clip.load('emoji_clip_tiny')\n"
        f"print(clip.TextEmbedder(model).encoder.token_ids({texts!r}).tolist())\n"
        "heavy = ('jax', 'matplotlib', 'pandas', 'sklearn', 'tensorflow')\n"
        "print([name for name in heavy if sys.modules.get(name) is not None])\n"
        "import sklearn.linear_model, matplotlib.figure\n"
        "load_keras(tensorflow=True)\n"
        "import tensorflow\n"
        "print(tensorflow.config.get_visible_devices('GPU'))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": "torch"},
    )
    assert ran.returncode == 0, ran.stderr
    ids, modules, gpus = ran.stdout.splitlines()
    here = TextEmbedder(load("emoji_clip_tiny")).encoder.token_ids(texts)
    assert ids == str(here.tolist())
    assert modules == "[]"
    assert gpus == "[]"


@pytest.mark.parametrize("choice", ["variable", "keras.json"])
def test_tensorflow_is_not_hidden_where_it_is_the_backend(home, monkeypatch, choice):
    if choice == "variable":
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    else:
        file = KERAS_JSON | {"backend": "tensorflow", "epsilon": 1e-6}
        (home / "keras.json").write_text(json.dumps(file))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    hide_tensorflow()
    assert "tensorflow" not in sys.modules


_WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OPENBLAS_THREAD_TIMEOUT")


@pytest.fixture
def no_waiting(monkeypatch):
    for name in (*_WAITING, "GOMP_SPINCOUNT"):
        # Set first, so that monkeypatch takes away what `wait_passively` sets.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_threads_wait_passively(no_waiting):
    wait_passively()
    assert [os.environ[name] for name in _WAITING] == ["PASSIVE", "0", "4"]


@pytest.mark.parametrize(
    ("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000")]
)
def test_threads_wait_as_the_user_says(no_waiting, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    wait_passively()
    assert os.environ[name] == value
    assert [other for other in _WAITING if other != name and other in os.environ] == []


def test_the_command_sets_it_before_numpy_is_loaded(no_waiting):
    code = (
        "import os, sys, keras_cmm_cli.main as main\n"
        "main.cli.main = lambda **_: print(os.environ['OMP_WAIT_POLICY'], 'numpy' in sys.modules)\n"
        "main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
