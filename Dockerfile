# A server of a classifier, built from the wheel:
#
#   python -m hatchling build -t wheel -d dist
#   docker build -t keras-cmm-serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/my_model:/model:ro" keras-cmm-serve
#
# More options of `keras-cmm serve` go behind the name of the image. It needs neither Keras nor torch.
FROM python:3.13-slim

COPY constraints.txt dist/keras_cmm-*.whl /tmp/
# `--no-deps` leaves out what only training needs, which is 20 times as large.
RUN pip install --no-cache-dir -c /tmp/constraints.txt \
      click numpy onnxruntime pillow prometheus-client python-multipart rich \
      starlette uvicorn \
    && pip install --no-cache-dir --no-deps /tmp/keras_cmm-*.whl \
    && rm /tmp/constraints.txt /tmp/keras_cmm-*.whl

RUN useradd --no-create-home server
USER server
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=5)"]
# All addresses of the container. `docker run -p` says who can reach them.
ENTRYPOINT ["keras-cmm", "serve", "/model", "--host", "0.0.0.0"]
