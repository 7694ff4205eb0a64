#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: swtpm, the software TPM
# that stands in for the chip, openssl, whose certificates are others' than
# Coffer's, gcc for the race detector, Chromium, which
# looks at the pages, certutil, which makes it trust a certificate, and what builds and
# runs the image without a service: buildah and podman with runc, and the network
# of containers (netavark, aardvark-dns, iptables).
#
# usage: deps.sh [PACKAGE...] — with names, those of the programs besides
set -euo pipefail

missing=()
declare -A program=([nodejs]=node [postgresql]=initdb)
# Debian keeps PostgreSQL's server out of the PATH.
for dir in /usr/lib/postgresql/*/bin; do PATH+=:$dir; done
for package; do
	command -v "${program[$package]:-$package}" >/dev/null || missing+=("$package")
done
command -v swtpm >/dev/null || missing+=(swtpm)
command -v openssl >/dev/null || missing+=(openssl)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
command -v certutil >/dev/null || missing+=(libnss3-tools)
command -v curl >/dev/null || missing+=(curl)
for tool in buildah podman podman-compose runc; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
# These stand outside the PATH.
for tool in netavark aardvark-dns; do
	[ -x "/usr/lib/podman/$tool" ] || [ -x "/usr/libexec/podman/$tool" ] || missing+=("$tool")
done
PATH=$PATH:/usr/sbin:/sbin command -v iptables >/dev/null || missing+=(iptables)
[ ${#missing[@]} -eq 0 ] && exit 0

# named prints the missing packages by the names of a package manager, which is
# given what differs from Debian as NAME=OTHER.
named() {
	local out=" ${missing[*]} " pair
	for pair; do out=${out/ ${pair%%=*} / ${pair#*=} }; done
	echo "$out"
}

echo "installing: ${missing[*]}"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
# The names are words without spaces, split on purpose.
# shellcheck disable=SC2046
if command -v apt-get >/dev/null; then
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $(named)
elif command -v dnf >/dev/null; then
	$sudo dnf install -y $(named libc6-dev=glibc-devel libnss3-tools=nss-tools postgresql=postgresql-server)
elif command -v apk >/dev/null; then
	$sudo apk add $(named libc6-dev=musl-dev libnss3-tools=nss-tools postgresql=postgresql-server)
elif command -v pacman >/dev/null; then
	$sudo pacman -Sy --noconfirm $(named libc6-dev=glibc libnss3-tools=nss)
else
	echo "no package manager is known here; install ${missing[*]} by hand" >&2
	exit 1
fi
