import json
import os
import shutil
import subprocess
import sys

from folders import files_in

from keras_cmm_runtime.utils import read_digests


def test_push_predict_and_explain(run, model_dir, shared_photos, hub, tmp_path):
    before = files_in(model_dir)
    measured = run("evaluate", model_dir, shared_photos, "--held-out", "--format", "json")
    (tmp_path / "accuracy.json").write_text(measured.stdout)
    options = ("--evaluation", tmp_path / "accuracy.json", "--private")
    dry = run("push", model_dir, "ada/pets", *options, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert hub.asked == []
    first, *lines = dry.stdout.splitlines()
    assert first.startswith("ada/pets: ")
    names = {line.split()[-1] for line in lines if "left out" not in line}
    assert names == set(read_digests(model_dir)) - {"support_images.safetensors"}
    assert lines[-1] == " left out  support_images.safetensors"

    result = run("push", model_dir, "ada/pets", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{hub.url}/ada/pets: {len(names)} files, ")
    for line in lines:
        assert line.strip() in result.stderr  # what is pushed is said before
    assert files_in(model_dir) == before
    folder = hub.models["ada/pets"]
    record = json.loads((folder / "keras_cmm.json").read_text())
    assert [image["name"] for image in record["images"]] == [f"image {n}" for n in range(6)]
    assert all(len(image["sha256"]) == 64 for image in record["images"])
    card = (folder / "README.md").read_text()
    assert "model-index:\n" in card
    assert "none of which it was trained on" in card

    expected = run("predict", model_dir, shared_photos, "--format", "csv").stdout
    there = run("predict", "hf://ada/pets", shared_photos, "--format", "csv")
    assert there.stdout == expected
    assert "model.weights.h5" not in hub.fetched
    held_out = run("evaluate", "hf://ada/pets", shared_photos, "--held-out", "--format", "json")
    assert json.loads(held_out.stdout) == json.loads(measured.stdout)
    picture = next(shared_photos.rglob("*.png"))
    explained = run("explain", "hf://ada/pets", picture, "--output", tmp_path / "why.png")
    assert explained.exit_code == 0, explained.output
    exported = run("export", "hf://ada/pets", "--output", tmp_path / "again.onnx")
    assert exported.exit_code == 0, exported.output


def test_serve_fetches_what_it_runs(run, model_dir, hub, monkeypatch):
    assert run("push", model_dir, "ada/pets").exit_code == 0
    seen = []
    monkeypatch.setattr("keras_cmm_server.serve", lambda *arguments: seen.append(arguments))
    assert run("serve", "hf://ada/pets@main").exit_code == 0
    folder, _, _, _, name, *_ = seen[0]
    assert name == "pets"
    assert (folder / "classifier.onnx").is_file()
    assert not (folder / "model.weights.h5").exists()


def test_keras_fetches_the_whole_model(run, model_dir, shared_photos, hub):
    assert run("push", model_dir, "ada/pets", "--training-images").exit_code == 0
    result = run("predict", "hf://ada/pets", shared_photos, "--engine", "keras", "--no-store")
    assert result.exit_code == 0, result.output
    assert "model.weights.h5" in hub.fetched
    pushed, own = (
        json.loads((folder / "keras_cmm.json").read_text())["images"]
        for folder in (hub.models["ada/pets"], model_dir)
    )
    assert pushed == own


def test_predicting_from_the_hub_imports_no_keras(model_dir, shared_photos, hub, run, tmp_path):
    assert run("push", model_dir, "ada/pets").exit_code == 0
    code = (
        "import sys; from keras_cmm_cli.main import cli; cli(sys.argv[1:], standalone_mode=False);"
        "print([name for name in ('keras', 'torch', 'tensorflow') if name in sys.modules])"
    )
    picture = next(shared_photos.rglob("*.png"))
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    found = subprocess.run(
        [sys.executable, "-c", code, "predict", "hf://ada/pets", str(picture), "--top-k", "1"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert found.stdout.splitlines()[-1] == "[]", found.stderr


def test_refusals(refused, model_dir, hub, tmp_path, monkeypatch):
    assert "there is no such model" in refused("predict", "hf://ada/none", model_dir)
    assert "there is no such model" in refused("export", "hf://ada/none", "--output", "a.onnx")
    assert "must be of the form owner/name" in refused("push", model_dir, "pets")
    (tmp_path / "accuracy.json").write_text('{"images": 3}')
    options = ("--evaluation", tmp_path / "accuracy.json")
    assert "Received: classes=None" in refused("push", model_dir, "ada/pets", *options)
    assert "hf://ada/pets" in refused("push", "hf://ada/pets", "ada/pets")
    monkeypatch.delenv("HF_TOKEN")
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    (copy / "classifier.onnx").write_bytes(b"another")
    assert "export the classifier again" in refused("push", copy, "ada/pets")
    line = refused("push", model_dir, "ada/pets")
    assert "needs a token to push" in line
    assert hub.models == {}
