//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// The exit codes of wcluster's own. 64 and above are those of sysexits.h where it has one that fits. A guest's exit code
// is passed on as it is, so it may be one of these as well; stderr tells which it was.
const (
	exitOK         = 0
	exitUsage      = 2
	exitModule     = 65 // EX_DATAERR
	exitNoModule   = 66 // EX_NOINPUT
	exitAddress    = 69 // EX_UNAVAILABLE
	exitInternal   = 70 // EX_SOFTWARE
	exitSystem     = 71 // EX_OSERR
	exitPermission = 77 // EX_NOPERM
	exitSandbox    = 78 // EX_CONFIG

	// exitSignal is added to the number of a signal, as shells do.
	exitSignal = 128
)

// exitCodesHelp is the text of "wcluster help exit-codes".
const exitCodesHelp = `wcluster exits with

    0   all is well: the guests ended with 0, or a signal asked for the end and
        the workers left in time or were cut off
    1   a guest trapped, or exited with 1 itself, or no worker could start
    2   usage: unknown command or flag, bad value
   65   the module cannot run here: not Wasm, damaged, a component, an import
        that is not provided
   66   the module cannot be read: no such file, a directory, empty
   69   an address cannot be listened on: in use, not of this machine
   70   internal: wcluster or its worker process failed, or the cache directory
        cannot be used
   71   the system cannot do it: not Linux, a kernel too old, out of processes,
        descriptors or memory
   77   not permitted: a port below 1024 as an ordinary user, a module that may
        not be read
   78   workers cannot be locked down as --sandbox demands: "wcluster doctor" says
        why
  130   ended at once by a second SIGINT
  143   ended at once by a second SIGTERM
    N   any other: the exit code of a guest; with several, the largest
128+N   a worker was killed by signal N and not replaced

A guest may choose any code, one of the above included; the line on stderr says
whose it was.
`

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// usage marks err as the caller's mistake.
func usage(err error) error { return &exitError{exitUsage, err} }

// exitCode is the code that an error ends the command with.
func exitCode(err error) int {
	var exit *exitError
	var prepare *master.PrepareError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, context.Canceled):
		return exitOK // a signal came before the first worker: that is an end as any other
	case errors.As(err, &prepare):
		return prepareCode(prepare)
	case isShortage(err):
		return exitSystem
	default:
		return exitInternal
	}
}

func prepareCode(e *master.PrepareError) int {
	switch {
	case errors.Is(e, fs.ErrPermission):
		return exitPermission
	case isShortage(e):
		return exitSystem
	case e.Op == master.StepRead:
		return exitNoModule
	case e.Op == master.StepListen:
		return exitAddress
	case e.Op == master.StepSandbox:
		return exitSandbox
	case e.Reason != "" && e.Reason != abi.ReasonInternal:
		return exitModule
	default:
		return exitInternal
	}
}

// isShortage is whether the system has run out of something.
func isShortage(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOSYS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
