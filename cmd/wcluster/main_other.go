//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

// exitSystem is the same as on Linux: the system cannot do it.
const exitSystem = 71

func main() {
	fmt.Fprintf(os.Stderr, "wcluster: this is %s/%s, and wcluster runs on Linux (amd64, arm64) only: use a Linux machine, virtual machine or container\n", runtime.GOOS, runtime.GOARCH)
	os.Exit(exitSystem)
}
