"""The names of the methods, in the order of tables."""

METHOD_NAMES = (
    "cmm",
    "cmm_plain",
    "zero_shot",
    "nearest_mean",
    "linear_probe",
    "clip_adapter",
    "tip_adapter",
    "tip_adapter_f",
    "task_res",
    "lp_plus_plus",
    "clap",
    "gda",
    "proker",
    "lfa",
    "rla",
    "hoso_adapter",
    "prototype_mixing",
    "em_dirichlet",
    "text_guided_mixture",
)
"""Those of `keras_cmm.methods.METHODS`, then the transductive ones."""
