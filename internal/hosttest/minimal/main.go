// Command minimal is the smallest program that a master can run as its worker.
package main

import (
	"fmt"
	"os"

	"github.com/wcluster/wcluster/host"
)

func main() {
	host.Init()
	fmt.Fprintln(os.Stderr, "minimal: only of use as the host binary of a master")
	os.Exit(2)
}
