#!/usr/bin/env bash
# Fuzzes every target of the module for the time given, one after the other.
set -euo pipefail

time=${1:?usage: fuzz.sh TIME}
for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "$pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$pkg" | tail -n 1
	done
done
