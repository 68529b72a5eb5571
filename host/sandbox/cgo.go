//go:build cgo

package sandbox

// cgo is whether this program was built with it: then threads that the Go runtime does not know may exist.
const cgo = true
