#!/bin/sh
# Rebuilds gcbench.jar from the sources beside it. Needs a JDK of 17 or later (javac and jar); H2 is not needed.
set -eu
cd "$(dirname "$0")"
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac --release 17 -Xlint:all -Werror -d "$classes" gcbench/*.java
jar --create --file gcbench.jar --date=2026-01-01T00:00:00Z -C "$classes" .
