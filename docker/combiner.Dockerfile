# The combiner in a container: every stage behind the shards, by hand, on a machine with nothing but Docker.
#
# scripts/combine builds it and runs it; by hand, from covfleet's checkout, with the classic builder or BuildKit:
#
#   tar -c pyproject.toml README.md pipeline templates docker | docker build -f docker/combiner.Dockerfile -t covfleet-combiner -
#   docker run --rm --read-only --cap-drop ALL -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY \
#     covfleet-combiner recombine COMMIT --store s3://bucket/coverage
#
# The image gets /opt/venv only, and runs as nobody; any other user works, too, and so does a read-only root:
# all that is written lies in /tmp, a volume, as there may be more of it than fits into memory. The package
# index, its credentials and the CA bundle meet the build stage alone. Build arguments:
#   BASE             an image with Python 3.11 or newer and its venv module
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL   package indexes
#   CA_IMAGE, PIP_CERT   behind a proxy with certificates of its own: an image that holds /tmp/ca.pem, and
#                        /covfleet-ca/ca.pem, to which the build stage copies it
ARG BASE=python:3.12-slim
ARG CA_IMAGE=${BASE}

FROM ${CA_IMAGE} AS ca

FROM ${BASE} AS build
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY --from=ca /tmp /covfleet-ca
ENV PATH=/opt/venv/bin:$PATH \
    SOURCE_DATE_EPOCH=315532800 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What says which packages are needed, alone: dependencies stay cached while the sources change.
COPY pyproject.toml ./
RUN python3 -m venv /opt/venv \
 && python -c 'print(*__import__("tomllib").load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    > /tmp/requirements.txt \
 && pip install -r /tmp/requirements.txt
COPY . .
RUN pip install --no-deps . && pip uninstall --yes pip

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
VOLUME /tmp
WORKDIR /tmp
USER 65534:65534
ENTRYPOINT ["covfleet"]
CMD ["recombine", "--help"]
