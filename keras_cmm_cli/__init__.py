"""The command line `keras-cmm`. Importing it imports neither Keras nor `keras_cmm`."""
