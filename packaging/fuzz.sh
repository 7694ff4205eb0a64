#!/usr/bin/env bash
# Fuzzes every target of the module for the time given, one after the other. A
# failure is an input that go test has written down; running out of time in the
# middle of an execution is none.
set -euo pipefail

time=${1:?usage: fuzz.sh TIME}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$pkg" >"$log" 2>&1; then
			echo "ok $pkg $target: $(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
		elif grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
			echo "ok $pkg $target: out of time"
		else
			cat "$log"
			exit 1
		fi
	done
done
