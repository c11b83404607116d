"""Work on images that are too many for one machine.

A part of the images, such as a tar file, becomes one file of the output. That is the unit of work,
of resuming and of trying again, on this machine's processes and on Ray alike.
"""

from keras_cmm_runtime.scale.embedded_rows import embedded_rows
from keras_cmm_runtime.scale.engine_options import ENGINES, EngineOptions
from keras_cmm_runtime.scale.find_shards import DEFAULT_SHARD_SIZE, find_shards
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.label_names import names_of_labels
from keras_cmm_runtime.scale.predict_shards import predict_shards
from keras_cmm_runtime.scale.prediction_model import PredictionModel
from keras_cmm_runtime.scale.read_shard import read_shard
from keras_cmm_runtime.scale.run_workers import run_workers
from keras_cmm_runtime.scale.shard_folder import ShardFolder
from keras_cmm_runtime.scale.shard_format import is_shard_folder, read_manifest
from keras_cmm_runtime.scale.shard_model import ShardModel
from keras_cmm_runtime.scale.shard_report import ShardReport
from keras_cmm_runtime.scale.shard_result import ShardResult
from keras_cmm_runtime.scale.shard_worker import ShardWorker
from keras_cmm_runtime.scale.storage import Storage
from keras_cmm_runtime.scale.stored_row import StoredRow

__all__ = [
    "DEFAULT_SHARD_SIZE",
    "ENGINES",
    "EngineOptions",
    "InputShard",
    "PredictionModel",
    "ShardFolder",
    "ShardModel",
    "ShardReport",
    "ShardResult",
    "ShardWorker",
    "Storage",
    "StoredRow",
    "embedded_rows",
    "find_shards",
    "is_shard_folder",
    "names_of_labels",
    "predict_shards",
    "read_manifest",
    "read_shard",
    "run_workers",
]
