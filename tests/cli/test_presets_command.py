import csv
import json
import subprocess
import sys

import pytest

from keras_cmm_runtime.presets import Preset, known_presets


def test_table(run):
    result = run("presets")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for preset in known_presets():
        assert any(line.startswith(f"{preset.name} ") for line in lines), preset.name
    (line,) = [line for line in lines if line.startswith("clip_vit_base_patch16 ")]
    assert line.split()[:6] == ["clip_vit_base_patch16", "150", "224", "512", "68.3", "mit"]


def test_json_and_csv_have_all_that_is_known(run):
    rows = json.loads(run("presets", "--format", "json").stdout)
    assert [Preset(**row) for row in rows] == list(known_presets())
    table = list(csv.DictReader(run("presets", "--format", "csv").stdout.splitlines()))
    assert [row["name"] for row in table] == [preset.name for preset in known_presets()]
    assert tuple(table[0]) == Preset._fields
    assert table[0]["imagenet_top1"] == ""


def test_commands_that_import_no_keras(tmp_path):
    names = ("dataset", "protocol", "backbone", "method")
    record = dict.fromkeys(names, "dtd") | {"shots": 1, "seed": 1, "top1": 50.0}
    (tmp_path / "run.json").write_text(json.dumps(record))
    code = (
        "import sys\n"
        "from keras_cmm_cli.main import cli\n"
        "heavy = {'keras', 'keras_cmm', 'keras_hub', 'numpy', 'tensorflow', 'torch'}\n"
        "cli(['presets'], standalone_mode=False)\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "cli(['datasets', 'list'], standalone_mode=False)\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "cli(['aggregate', 'run.json'], standalone_mode=False)\n"
        "cli(['store', '--store', 'none'], standalone_mode=False)\n"
        "assert heavy & set(sys.modules) == {'numpy'}, heavy & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "none: 0 embeddings by 0 models, 0.0 MB"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("clip_vit_base_patch61", "did you mean clip_vit_base_patch16"),
        ("emoji_clip_tinny", "did you mean emoji_clip_tiny"),
    ],
)
def test_fit_with_a_wrong_name_gets_the_nearest(refused, shared_photos, tmp_path, name, near):
    line = refused("fit", shared_photos, "--preset", name, "--output", tmp_path / "model")
    assert f"'{name}'" in line
    assert near in line


def test_a_wrong_name_on_the_hub(refused, hub, tmp_path):
    line = refused("convert", "openai/clip-vit-base-patch23", tmp_path / "out")
    assert "did you mean openai/clip-vit-base-patch32" in line
    assert "Or, if it is private, log in" in line
