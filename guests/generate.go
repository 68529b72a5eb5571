// Package guests builds the guest programs: one idea each, in C, Rust and Go. README.md is the map.
//
// "go generate ./guests" compiles those that are committed as .wasm files, so that tests and users need no compiler;
// running it again on the same toolchain changes nothing.
package guests

//go:generate sh build.sh
