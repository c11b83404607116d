"""The commands on a model that OpenCLIP runs."""

import json

import numpy as np
from click.testing import CliRunner
from open_clip_folders import import_or_skip, make_folder
from PIL import Image

import_or_skip("open_clip")

from keras_cmm_cli.main import cli  # noqa: E402


def run(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_fit_predict_and_evaluate(tmp_path):
    preset = make_folder(tmp_path / "preset", "clipa")
    photos, model = tmp_path / "photos", tmp_path / "model"
    for name, colour in (("red", (220, 40, 30)), ("blue", (40, 60, 220))):
        (photos / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40 + number, 48), colour).save(photos / name / f"{number}.png")
    fitted = run("fit", photos, "--preset", preset, "--epochs", 2, "--output", model)
    assert fitted.exit_code == 0, fitted.stderr
    assert (model / "classifier.onnx").is_file()
    # The saved model needs the folder no more.
    preset.rename(tmp_path / "gone")
    answers = []
    for engine in ("onnx", "keras"):
        options = ("--engine", engine, "--format", "json")
        (answer,) = json.loads(run("predict", model, photos / "red" / "0.png", *options).stdout)
        answers.append([(each["class"], each["probability"]) for each in answer["predictions"]])
        assert answers[-1][0][0] == "red"
        evaluated = run("evaluate", model, photos, *options)
        assert json.loads(evaluated.stdout)["top1"] == 100.0
    by_onnx, by_keras = (np.array([each[1] for each in answer]) for answer in answers)
    np.testing.assert_allclose(by_onnx, by_keras, atol=1e-4)
    explained = run("explain", model, photos / "red" / "0.png", "--output", tmp_path / "heat.png")
    assert explained.exit_code == 2
    assert "a heat map needs an image tower that is a vision transformer" in explained.stderr
