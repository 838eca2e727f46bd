# docker build -t qinsight . && docker run --rm -v "$PWD/photos:/photos:ro" qinsight score /photos
FROM python:3.11-slim
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /src/
COPY qinsight_cli /src/qinsight_cli
RUN pip install --no-cache-dir "/src[photos]" && rm -rf /src && useradd --create-home qinsight
USER qinsight
WORKDIR /home/qinsight
ENTRYPOINT ["qinsight"]
