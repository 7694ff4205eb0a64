# The image of Coffer: one static binary and an empty /data on nothing.
#
#   make image                      the binary made by the Go of this machine
#   docker build -t coffer .        the binary made by ${GO_IMAGE}
#
# Both give the same binary, byte by byte, if the Go release is the same. With
# BIN=prebuilt nothing is pulled, so that the build works without a network;
# that is why no syntax line stands above, which would pull a front end. Docker
# must build with BuildKit, as it does by itself since 23: its builder of old
# builds every stage.
ARG BIN=source
ARG GO_IMAGE=docker.io/library/golang:1.26

FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS source
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN make binaries VERSION="${VERSION}" ARCHES="${TARGETARCH:-$(go env GOARCH)}" && \
    mv "dist/image/${TARGETARCH:-$(go env GOARCH)}" /out

FROM scratch AS prebuilt
ARG TARGETARCH
COPY dist/image/${TARGETARCH}/ /out/

FROM ${BIN} AS bin

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="Coffer" \
      org.opencontainers.image.description="A closed coffer for every client: encrypted data, keys, short-lived tokens, and a log that nobody can rewrite" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=bin /out/coffer /coffer
# Nobody can make a directory in here, so one comes from outside; a new volume
# takes its owner and mode over. 65532 has no name and no rights anywhere.
COPY --from=bin --chown=65532:65532 /out/own/ /
ENV COFFER_DATA=/data
USER 65532:65532
VOLUME /data
EXPOSE 8443
# Sealed is healthy: a restart would not open it.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["/coffer", "health"]
ENTRYPOINT ["/coffer"]
CMD ["serve"]
