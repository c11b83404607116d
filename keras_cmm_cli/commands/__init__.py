"""One module a command. Each imports `keras_cmm` inside its body only, so that help is instant."""
