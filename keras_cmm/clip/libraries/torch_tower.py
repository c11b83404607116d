"""A Keras layer around a model of another library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras

from keras_cmm.clip.libraries.building import build_library_model
from keras_cmm_runtime.errors import InputError


class TorchTower(keras.layers.Layer):
    """Runs a frozen model of another library, such as OpenCLIP, on the torch backend.

    The weights, parameters and buffers, are Keras variables that share the memory of the module's
    tensors. So all that Keras does with weights works: saving, loading, counting, moving. The
    module itself is never saved: it is built again from its architecture, by the library.

    Args:
        library: the library, a key of `keras_cmm.clip.libraries.building.BUILDERS`.
        architecture: what builds the model: JSON, or an object that JSON can hold.
        dtype: dtype or dtype policy. A mixed one runs by `torch.autocast`.
        **kwargs: `name`.

    Raises:
        InputError: If the backend is not torch, the library is missing, or it cannot build this.
    """

    def __init__(
        self, library: str, architecture: str | Mapping[str, Any], dtype: Any = None, **kwargs: Any
    ) -> None:
        if keras.backend.backend() != "torch":
            raise InputError(
                f"a model that {library} runs needs the torch backend; set KERAS_BACKEND=torch. "
                f"Received: the backend {keras.backend.backend()!r}"
            )
        kwargs["trainable"] = False
        super().__init__(dtype=dtype, **kwargs)
        self.library = library
        self.architecture = _as_json(architecture)
        model = build_library_model(library, json.loads(self.architecture))
        import torch
        from keras.src.backend.torch.core import get_device

        variable_dtype = getattr(torch, self.variable_dtype)
        model.module.to(device=get_device(), dtype=variable_dtype)
        if torch.device(get_device()).type == "cuda":
            lay_out_by_pixels(model.module)
        # Not an attribute of its own, which torch would register as a second set of weights.
        self._hidden = SimpleNamespace(model=model)
        self.image_shape = (model.image_size, model.image_size, 3)
        self.projection_dim = model.dim
        self.max_sequence_length = model.context_length
        self.vocabulary_size = model.vocabulary_size
        self._names, self._tensors = _share(model.module)
        self.built = True

    @property
    def module(self) -> Any:
        """The `torch.nn.Module`."""
        return self._hidden.model.module

    @property
    def has_texts(self) -> bool:
        """Whether there is a text tower."""
        return self._hidden.model.embed_texts is not None

    @property
    def logit_scale(self) -> Any:
        """The logarithm of the scale of the cosines, a scalar tensor, or `None`."""
        scale = self._hidden.model.logit_scale
        return None if scale is None else scale.detach().float().reshape(())

    def call(self, images: Any) -> Any:
        """Embeds normalised images, `(batch, height, width, 3)`; float32 `(batch, dim)`."""
        import torch

        pixels = images.permute(0, 3, 1, 2).to(getattr(torch, self.variable_dtype))
        with self._autocast():
            return self._hidden.model.embed_images(pixels).float()

    def embed_texts(self, token_ids: Any) -> Any:
        """Embeds token ids, int `(batch, length)`; float32 `(batch, dim)`."""
        with self._autocast():
            return self._hidden.model.embed_texts(token_ids.long()).float()

    def _autocast(self) -> Any:
        import torch

        dtype = getattr(torch, self.compute_dtype)
        device = str(self._tensors[0].value.device.type)
        mixed = self.compute_dtype != self.variable_dtype
        return torch.autocast(device, dtype=dtype if mixed else torch.bfloat16, enabled=mixed)

    def compute_output_spec(self, images: Any) -> Any:
        """Returns shape and dtype of `call`'s result."""
        return keras.KerasTensor((images.shape[0], self.projection_dim), dtype="float32")

    def save_own_variables(self, store: Any) -> None:
        """Saves the weights under the names that they have in the library."""
        for name, tensor in zip(self._names, self._tensors, strict=True):
            store[name] = tensor

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        if set(store.keys()) != set(self._names):
            odd = sorted(set(store.keys()) ^ set(self._names))
            raise ValueError(
                f"the weights are not those of this {self.library} model: {len(odd)} of them are "
                f"in one and not in the other, such as {odd[0]!r}."
            )
        for name, tensor in zip(self._names, self._tensors, strict=True):
            tensor.assign(store[name])

    def assign_tensors(self, tensors: Mapping[str, Any]) -> None:
        """Copies the tensors of a checkpoint, under the names of the module, into the weights."""
        self.module.load_state_dict(tensors, strict=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        config = super().get_config()
        config.update({"library": self.library, "architecture": self.architecture})
        return config


def lay_out_by_pixels(module: Any) -> None:
    """Lays out the weights of convolutions by pixels (`channels_last`), as images come.

    A GPU would do so in every pass. Their numbers and their shapes stay as they are.

    Args:
        module: a `torch.nn.Module`.
    """
    import torch

    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _as_json(architecture: str | Mapping[str, Any]) -> str:
    if isinstance(architecture, str):
        architecture = json.loads(architecture)
    return json.dumps(architecture, sort_keys=True)


def _share(module: Any) -> tuple[list[str], list[Any]]:
    """Makes Keras variables of the parameters and the saved buffers of a module."""
    import torch

    saved = set(module.state_dict())
    names, variables = [], []
    for name, parameter in module.named_parameters():
        names.append(name)
        variables.append(_variable(name, parameter))
    for owner_name, owner in module.named_modules():
        for name, buffer in list(owner._buffers.items()):
            whole = f"{owner_name}.{name}" if owner_name else name
            if buffer is None or whole not in saved:
                continue
            variable = _variable(whole, torch.nn.Parameter(buffer, requires_grad=False))
            owner._buffers[name] = variable.value.data
            names.append(whole)
            variables.append(variable)
    return names, variables


def _variable(name: str, parameter: Any) -> Any:
    dtype = str(parameter.dtype).removeprefix("torch.")
    # torch takes no dots in the names of parameters.
    variable = keras.Variable(
        parameter, dtype=dtype, trainable=False, autocast=False, name=name.replace(".", "-")
    )
    assert variable.value.data_ptr() == parameter.data_ptr() or not parameter.numel()
    return variable
