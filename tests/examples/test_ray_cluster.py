"""The example of a cluster against Ray's own schema."""

import json
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

FILE = Path(__file__).parents[2] / "examples/ray_cluster.yaml"
SCHEMA = Path(ray.__file__).parent / "autoscaler/ray-schema.json"


def test_ray_accepts_it():
    config, schema = yaml.safe_load(FILE.read_text()), json.loads(SCHEMA.read_text())
    jsonschema.validate(config, schema)
    assert config["head_node_type"] in config["available_node_types"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"max_worker": 8}, schema)
