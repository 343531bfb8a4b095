# Vesalius on a CPU: segments and names, without PyTorch.
#
#     docker build -t vesalius .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" vesalius segment scan.png polyp
#
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl \
    && rm -r /wheels \
    && useradd --create-home --uid 1000 vesalius
USER vesalius
WORKDIR /data
ENTRYPOINT ["vesalius"]
CMD ["--help"]
