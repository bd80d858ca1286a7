# covfleet's Dockerfile for applications without one of their own: Python, the application, pytest, coverage.
#
# Needs nothing but the engine's classic builder and a base of the Debian family. The build stage meets the
# package index and the CA bundle; the image gets /opt/venv and /app only. Build arguments:
#   BASE            an image with Python 3.9 or newer and its venv module
#   REQUIREMENTS    requirements files to install, those of them that exist
#   EXTRAS, GROUPS  the project's extras and dependency groups to install, those of them that exist
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL   package indexes
#   SETUPTOOLS_SCM_PRETEND_VERSION       for projects that take their version from git: .git isn't copied
#   CA_IMAGE, PIP_CERT   given by covfleet if image.ca_bundle is set: an image that holds /tmp/ca.pem, and
#                        the path where the build stage copies it to (a Dockerfile of yours can do the same)
ARG BASE=python:3.12-slim
ARG CA_IMAGE=${BASE}

FROM ${CA_IMAGE} AS ca

# What says which packages are needed, alone: dependencies stay cached while the sources change.
# Lines that name folders of the project are left for later, when the folders are there.
FROM ${BASE} AS manifest
WORKDIR /src
COPY . .
RUN mkdir /manifest \
 && find . -path './.*' -prune -o \( -name pyproject.toml -o -name '*.txt' -path '*requirements*' \) -print \
    | xargs -r cp --parents -t /manifest \
 && find /manifest -name '*.txt' -exec sed -i -E '/^[[:space:]]*((-e|--editable)[[:space:]=]+)?[.]/d' {} +

FROM ${BASE} AS build
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY --from=ca /tmp /covfleet-ca
# SOURCE_DATE_EPOCH makes compiled files depend on their sources alone: an equal /opt/venv is an equal layer.
ENV PATH=/opt/venv/bin:$PATH \
    SOURCE_DATE_EPOCH=315532800 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/venv \
 && pip install --upgrade 'pip>=25.1' \
 && pip install 'pytest>=7' 'coverage>=7.10.6'

ARG REQUIREMENTS="requirements.txt requirements[-_/]test*.txt test*[-_]requirements.txt"
ARG GROUPS="test tests testing"
WORKDIR /app
COPY --from=manifest /manifest ./
RUN set -e; for file in $REQUIREMENTS; do if [ -f "$file" ]; then pip install -r "$file"; fi; done; \
    if [ -f pyproject.toml ]; then \
      python -c 'import sys; \
        toml = __import__("tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli", fromlist=["load"]); \
        project = toml.load(open("pyproject.toml", "rb")); \
        groups = ["--group=" + name for name in sys.argv[1:] if name in project.get("dependency-groups", {})]; \
        print(*project.get("project", {}).get("dependencies", []), *groups, sep="\0", end="")' \
        $GROUPS > /tmp/arguments; \
      xargs -0 -r pip install < /tmp/arguments; \
    fi

# Only what is declared to be a package is installed, in place, so that its sources are measured in /app.
ARG EXTRAS="test,tests,testing"
ARG SETUPTOOLS_SCM_PRETEND_VERSION
COPY . .
RUN set -e; for file in $REQUIREMENTS; do if [ -f "$file" ]; then pip install -r "$file"; fi; done; \
    if [ -f setup.py ] || grep -qs '^\[build-system\]' pyproject.toml; then pip install -e ".[$EXTRAS]"; fi; \
    chmod -R a+rX /app

FROM ${BASE}
ENV PATH=/opt/venv/bin:$PATH
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
