# Cohortlake's image: the same lock and the same set-up script as `make setup`.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends make procps && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 50000 cohortlake
WORKDIR /opt/cohortlake
COPY --chown=cohortlake . .
RUN chown cohortlake /opt/cohortlake && install -d -o cohortlake /lake
USER cohortlake
RUN make setup && rm -rf ~/.cache ~/.ivy2*
ENV PATH=/opt/cohortlake/.venv/bin:$PATH \
    PYSPARK_PYTHON=/opt/cohortlake/.venv/bin/python \
    COHORTLAKE_LAKE=/lake \
    COHORTLAKE_DATA_FOLDER=/opt/cohortlake/data \
    AIRFLOW_HOME=/home/cohortlake/airflow
CMD ["cohortlake", "--help"]
