# One image for every process: gateway, worker, sink and the commands around them. No embedded Kafka or ClickHouse.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements-build.lock requirements-runtime.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock \
 && python -m venv /opt/thumbstream \
 && /opt/thumbstream/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY producers producers
COPY processors processors
COPY sinks sinks
COPY thumbstream thumbstream
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/thumbstream/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/thumbstream --create-home thumbstream \
 && install --directory --owner thumbstream /keys
COPY --from=build /opt/thumbstream /opt/thumbstream
ENV PATH=/opt/thumbstream/bin:$PATH PYTHONUNBUFFERED=1 THUMBSTREAM_DATA_DIR=/var/lib/thumbstream
USER thumbstream
WORKDIR /var/lib/thumbstream
VOLUME /keys
ENTRYPOINT ["thumbstream"]
CMD ["--help"]
