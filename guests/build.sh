#!/bin/sh
# Builds the guests that are committed as .wasm files. Two runs give the same bytes: tools are named by version,
# sources by relative path.
set -eu
cd "$(dirname "$0")"

clang=${CLANG:-clang-14}
rustc=${RUSTC:-/usr/bin/rustc}

# --strip-debug drops DWARF, of wasi-libc's objects too, and keeps the name section: traps name their functions.
# --stack-first puts the stack below the data, so that an overflow traps instead of overwriting it.
cflags="--target=wasm32-wasi -O2 -Wall -Wextra -Werror -ffile-prefix-map=$PWD=."
ldflags="-Wl,--strip-debug -Wl,--stack-first"
rustflags="--edition 2021 --target wasm32-wasi -C opt-level=s -C lto -C panic=abort -C strip=debuginfo
	--remap-path-prefix $PWD=."

# need FILE PACKAGE: FILE, or what a pattern finds, belongs to the Debian package.
need() {
	ls $1 >/dev/null 2>&1 && return
	echo "build.sh: $1 is missing: apt-get install $2" >&2
	exit 1
}

# c OUTPUT FLAGS-AND-SOURCES…
c() {
	out=$1
	shift
	$clang $cflags $ldflags -o "$out" "$@"
	echo "$out: $(wc -c <"$out") bytes"
}

# test_guest NAME FLAGS…
test_guest() {
	dir=../testdata/guests/$1
	shift
	c "$dir/${dir##*/}.wasm" "$@" "$dir/main.c"
}

rust() {
	$rustc $rustflags -o "$1" "$2"
	echo "$1: $(wc -c <"$1") bytes"
}

need "$(command -v "$clang" || echo "$clang")" clang-14
need /usr/lib/llvm-14/bin/wasm-ld lld-14
need /usr/include/wasm32-wasi/wasi/api.h wasi-libc
need '/usr/lib/llvm-14/lib/clang/14*/lib/wasi/libclang_rt.builtins-wasm32.a' libclang-rt-14-dev-wasm32
need "$rustc" rustc
need "$($rustc --print sysroot)/lib/rustlib/wasm32-wasi/lib/libstd-*.rlib" libstd-rust-dev-wasm32

server="hello-c/http.c hello-c/response.c hello-c/conn.c hello-c/listeners.c"
worker="$server hello-c/inbox.c hello-c/serve.c"

c hello-c/hello.wasm $worker hello-c/main.c
c count-c/count.wasm $worker count-c/main.c
# wasi-libc's poll keeps 48 bytes for each descriptor and direction on the stack.
c poll-c/poll.wasm -DCONN_MAX=512 -Wl,-z,stack-size=262144 $server poll-c/main.c
c accept-c/accept.wasm hello-c/http.c hello-c/response.c accept-c/main.c
rust accept-rust/accept.wasm accept-rust/main.rs

for name in moody spin trap exit42 env echo-messages obey listen0 printer sleeper oom hog; do
	test_guest $name
done
# The host calls back through the function table, which the linker leaves out unless it is asked to export it.
test_guest callback -Wl,--export-table
test_guest roles -Wl,--export-table
