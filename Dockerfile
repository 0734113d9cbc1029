# The image for indexing and serving. It cannot train, because it lacks TensorFlow.
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /source
COPY serving.lock pyproject.toml README.md LICENSE ./
COPY lookalike lookalike
COPY retrieval retrieval
COPY trainer trainer
COPY indexer indexer
COPY web web
# The lock is complete, so --no-deps. The build backend is the only package without a hash; it is not in the image.
# The tests of numpy, scipy and scikit-learn, 59 MB, are left out.
RUN python -m venv --without-pip /opt/lookalike \
    && pip --python /opt/lookalike/bin/python install --no-cache-dir --no-deps --require-hashes --requirement serving.lock \
    && pip --python /opt/lookalike/bin/python install --no-cache-dir --no-deps . \
    && cd /opt/lookalike/lib/python3.11/site-packages && find numpy scipy sklearn -type d -name tests -prune -exec rm -r {} +

FROM python:3.11.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/lookalike lookalike
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOOKALIKE_HOME=/var/lib/lookalike
USER lookalike
WORKDIR /var/lib/lookalike
VOLUME /var/lib/lookalike
EXPOSE 5000
ENTRYPOINT ["lookalike"]
CMD ["serve", "--host", "0.0.0.0"]
