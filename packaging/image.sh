#!/usr/bin/env bash
# Builds an image of each binary in dist/image. Nothing is pulled and nothing is
# run while building, so it needs no network, no emulator and, with buildah, no
# service. The image of this machine gets the tags VERSION and latest as well.
set -euo pipefail
cd "$(dirname "$0")/.."

usage="usage: image.sh NAME VERSION ARCH..."
name=${1:?$usage}
version=${2:?$usage}
shift 2

# works says whether a builder is one here. A docker without its engine is none,
# nor one without BuildKit (built in before 23, a plugin since): the builder of old
# builds every stage, also the one that pulls.
works() {
	"$1" version >/dev/null 2>&1 || return 1
	[ "$1" != docker ] || docker buildx version >/dev/null 2>&1 || [[ $(docker version -f '{{.Client.Version}}') =~ ^(18|19|20)\. ]]
}

builder=${BUILDER:-}
if [ -z "$builder" ]; then
	for b in docker podman buildah; do
		works "$b" && builder=$b && break
	done
fi
case "$builder" in
docker) build=(env DOCKER_BUILDKIT=1 docker build) ;;
# The OCI format has no place for a health check, so the other one.
podman) build=(podman build --isolation chroot --format docker) ;;
buildah) build=(buildah bud --isolation chroot --format docker) ;;
"") echo "none of docker, podman and buildah works here; install one" >&2 && exit 1 ;;
*) echo "BUILDER=$builder is none of docker, podman and buildah" >&2 && exit 1 ;;
esac

host=$(go env GOHOSTARCH)
for arch in "$@"; do
	tags=(-t "$name:$version-$arch")
	[ "$arch" != "$host" ] || tags+=(-t "$name:$version" -t "$name:latest")
	"${build[@]}" --platform "linux/$arch" --build-arg BIN=prebuilt --build-arg "TARGETARCH=$arch" \
		--build-arg "VERSION=$version" "${tags[@]}" .
	echo "built ${tags[*]/-t/}"
done
