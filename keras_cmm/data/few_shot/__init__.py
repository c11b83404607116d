"""Few-shot sampling by seed, and the draws of other projects."""

from keras_cmm.data.few_shot.coop_indices import read_few_shot_indices
from keras_cmm.data.few_shot.few_shot_draws import FewShotDraws, sample_validation
from keras_cmm.data.few_shot.few_shot_sample import FewShotSample
from keras_cmm.data.few_shot.sampling import key_digests, row_keys, sample_few_shot

__all__ = [
    "FewShotDraws",
    "FewShotSample",
    "key_digests",
    "read_few_shot_indices",
    "row_keys",
    "sample_few_shot",
    "sample_validation",
]
