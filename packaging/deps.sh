#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: swtpm, the software TPM
# that stands in for the chip, gcc for the race detector, and what builds and
# runs the image without a service: buildah and podman with runc, and the network
# of containers (netavark, aardvark-dns, iptables).
set -euo pipefail

missing=()
command -v swtpm >/dev/null || missing+=(swtpm)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
for tool in buildah podman podman-compose runc; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
# These stand outside the PATH.
for tool in netavark aardvark-dns; do
	[ -x "/usr/lib/podman/$tool" ] || [ -x "/usr/libexec/podman/$tool" ] || missing+=("$tool")
done
PATH=$PATH:/usr/sbin:/sbin command -v iptables >/dev/null || missing+=(iptables)
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
if command -v apt-get >/dev/null; then
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
elif command -v dnf >/dev/null; then
	$sudo dnf install -y "${missing[@]/libc6-dev/glibc-devel}"
elif command -v apk >/dev/null; then
	$sudo apk add "${missing[@]/libc6-dev/musl-dev}"
elif command -v pacman >/dev/null; then
	$sudo pacman -Sy --noconfirm "${missing[@]/libc6-dev/glibc}"
else
	echo "no package manager is known here; install ${missing[*]} by hand" >&2
	exit 1
fi
