package main

import (
	"fmt"
	"os"

	"github.com/wcluster/wcluster/host"
)

func main() {
	host.Init() // in a worker, which is this program executed again, it takes over
	os.Exit(wcluster(os.Args[1:]))
}

// wcluster runs the command line and answers the exit code. An error is one line on stderr.
func wcluster(args []string) int {
	closeOnExec()
	root := newRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	err := root.Execute()
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, "wcluster:", oneLine(err.Error()))
	}
	return exitCode(err)
}
