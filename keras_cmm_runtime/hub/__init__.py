"""Models on the Hugging Face hub."""

from keras_cmm_runtime.hub.fetching import HUB_SCHEME, fetch_model, is_hub_handle, snapshot

__all__ = ["HUB_SCHEME", "fetch_model", "is_hub_handle", "snapshot"]
