#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: swtpm, the software TPM
# that stands in for the chip, openssl, whose certificates are others' than
# Coffer's, and gcc for the race detector.
set -euo pipefail

missing=()
command -v swtpm >/dev/null || missing+=(swtpm)
command -v openssl >/dev/null || missing+=(openssl)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
if command -v apt-get >/dev/null; then
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${missing[@]}"
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
