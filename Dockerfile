# The image for indexing and serving. It cannot train, because it lacks TensorFlow.
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /source
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY lookalike lookalike
COPY retrieval retrieval
COPY trainer trainer
COPY indexer indexer
COPY web web
# Install the dependencies for serving in the versions of requirements.lock.
RUN sed 's/ *\\$//; /^ *--hash/d' requirements.lock > constraints.txt \
    && python -m venv /opt/lookalike \
    && /opt/lookalike/bin/pip install --no-cache-dir --constraint constraints.txt ".[s3]"

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
