"""The tokenizers of OpenCLIP."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_hub
import numpy as np
import numpy.typing as npt

from keras_cmm.clip.libraries.library_model import import_library
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.regular_files import refuse_special_file
from keras_cmm_runtime.utils.shortened import shortened
from keras_cmm_runtime.utils.warn import warn

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Names of the files of transformers' tokenizers."""

# Options of OpenCLIP's tokenizers, by kind. Others, such as masking at random, are for training.
_OPTIONS = {
    "simple": {"clean"},
    "transformers": {"clean", "strip_sep_token", "tokenizer_mode", "language"},
}


@keras.saving.register_keras_serializable(package="keras_cmm")
class LibraryTokenizer(keras_hub.tokenizers.Tokenizer):
    """A tokenizer of OpenCLIP, which makes the token ids of a `TorchBackbone`.

    OpenCLIP itself cleans and tokenizes the texts. The files of a tokenizer of transformers are
    saved with the model.

    Args:
        kind: `"simple"` for OpenAI's tokenizer, `"transformers"` for one of its files.
        context_length: int. Number of tokens of each text.
        vocabulary_size: int. Number of tokens that the model embeds.
        options: OpenCLIP's `tokenizer_kwargs`, such as `{"clean": "canonicalize"}`, or `None`.
        file_names: names of the files of a tokenizer of transformers.
        **kwargs: `name`.

    Raises:
        InputError: If the kind, a name or an option is none of these.
    """

    backbone_cls = TorchBackbone

    def __init__(
        self,
        kind: str,
        context_length: int,
        vocabulary_size: int,
        options: Mapping[str, Any] | None = None,
        file_names: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kind not in _OPTIONS:
            raise InputError(f"`kind` must be one of {tuple(_OPTIONS)}. Received: {kind=}")
        for name, value in (options or {}).items():
            if value and name not in _OPTIONS[kind]:
                raise InputError(
                    f"a tokenizer of the kind {kind} has no option {name!r}; only "
                    f"{', '.join(sorted(_OPTIONS[kind]))} can be given."
                )
        if not set(file_names) <= set(TOKENIZER_FILES):
            raise InputError(f"`file_names` must be of {TOKENIZER_FILES}. Received: {file_names}")
        self.kind = kind
        self.context_length = context_length
        self.embedded_tokens = vocabulary_size
        self.options = dict(options or {})
        self.file_names = tuple(file_names)
        self.file_assets = list(file_names)
        # Not attributes of their own, which Keras would track.
        self._hidden: Any = SimpleNamespace(files={}, tokenizer=None)

    def load_preset_assets(self, preset: str) -> None:
        """Reads the files from a preset of keras-hub, if the tokenizer has any."""
        if self.file_names:
            super().load_preset_assets(preset)

    def load_assets(self, dir_path: str) -> None:
        """Reads the files of the tokenizer from a folder."""
        files = {}
        for name in self.file_names:
            path = Path(dir_path, name)
            refuse_special_file(path)
            try:
                files[name] = path.read_bytes()
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
        self._hidden = SimpleNamespace(files=files, tokenizer=None)

    def save_assets(self, dir_path: str) -> None:
        """Writes the files of the tokenizer to a folder."""
        for name, content in self._hidden.files.items():
            Path(dir_path, name).write_bytes(content)

    def save_to_preset(self, preset_dir: str) -> None:
        """Saves the tokenizer to a preset of keras-hub."""
        super().save_to_preset(preset_dir)
        if not self.file_names:
            # keras-hub leaves an empty folder.
            assets = Path(preset_dir, "assets", self.config_file.partition(".")[0])
            for folder in (assets, assets.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def vocabulary_size(self) -> int:
        """Returns the number of tokens that the model embeds."""
        return self.embedded_tokens

    def token_ids(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Tokenizes texts as OpenCLIP does.

        Args:
            texts: list of str. A text that is too long is cut off, with a warning.

        Returns:
            int32 array of shape `(texts, context_length)`.

        Raises:
            InputError: If OpenCLIP is not installed, the files are damaged, or a token has no
                embedding in the model.
        """
        if not len(texts):
            return np.empty((0, self.context_length), dtype="int32")
        tokenizer = self._tokenizer()
        ids = np.asarray(tokenizer(list(texts), self.context_length), dtype="int32")
        if ids.max() >= self.embedded_tokens:
            raise InputError(
                f"the tokenizer makes the id {ids.max()}, and its model has only "
                f"{self.embedded_tokens} tokens; they do not belong together."
            )
        cut = [text for text in texts if self._length(tokenizer, text) > self.context_length]
        if cut:
            warn(
                f"{len(cut):,} of {len(texts):,} texts {'is' if len(cut) == 1 else 'are'} longer "
                f"than the {self.context_length} tokens that the model reads, so the end is cut "
                f"off; shorten them. For example: {shortened(cut[0])!r}"
            )
        return ids

    def tokenize(self, inputs: Any) -> Any:
        """Tokenizes texts; see `token_ids`."""
        return self.token_ids([inputs] if isinstance(inputs, str) else list(inputs))

    def _length(self, tokenizer: Any, text: str) -> int:
        if self.kind == "simple":
            return len(tokenizer.encode(text)) + 2
        return len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)

    def _tokenizer(self) -> Any:
        if self._hidden.tokenizer is None:
            self._hidden.tokenizer = self._make()
        return self._hidden.tokenizer

    def _make(self) -> Any:
        tokenizers = import_library("open_clip").tokenizer
        if self.kind == "simple":
            return tokenizers.SimpleTokenizer(context_length=self.context_length, **self.options)
        import_library("transformers")
        with tempfile.TemporaryDirectory() as folder:
            self.save_assets(folder)
            try:
                return tokenizers.HFTokenizer(
                    folder,
                    context_length=self.context_length,
                    trust_remote_code=False,
                    **self.options,
                )
            # transformers raises errors of many kinds for files that it cannot read.
            except Exception as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise InputError(
                    f"transformers cannot make a tokenizer of {', '.join(self.file_names)} "
                    f"({reason}); copy the tokenizer's files anew."
                ) from error

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; the files are assets."""
        config = super().get_config()
        config.update(
            {
                "kind": self.kind,
                "context_length": self.context_length,
                "vocabulary_size": self.embedded_tokens,
                "options": dict(self.options),
                "file_names": list(self.file_names),
            }
        )
        return config
