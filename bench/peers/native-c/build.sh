#!/bin/sh
# Builds the native peer: build.sh [output]. CC and CFLAGS may be set, for instance to build it with sanitizers.
set -eu
here=$(dirname "$0")
hello=$here/../../../guests/hello-c

exec ${CC:-gcc} ${CFLAGS:--O2} -D_GNU_SOURCE -Wall -Wextra -Werror -I"$hello" -o "${1:-$here/native-c}" \
	"$here/main.c" "$hello/http.c" "$hello/response.c" "$hello/conn.c" "$hello/listeners.c"
