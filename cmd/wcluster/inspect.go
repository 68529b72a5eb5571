//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// inspectFlags are the flags of inspect; run's of the same names mean the same.
type inspectFlags struct {
	json  bool
	debug bool
	cache string
	host  string
}

func newInspect() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect MODULE",
		Short: "Tell what a module is, what it needs, and whether it can run here",
		Long: `Compile a module without running it, and tell what it imports and exports, what
kind of guest it is and how much memory it wants. What this build does not provide
is marked. The exit code is 0 when the module can run here, else as run's would be.

The compiled module is kept in the cache, where run finds it.`,
		Example: "  wcluster inspect app.wasm\n  wcluster inspect --json app.wasm",
		Args:    oneModule(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inspect(cmd, args[0], &f)
		},
	}
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	c.Flags().BoolVar(&f.debug, "debug", false, "compile as run --debug would")
	c.Flags().StringVar(&f.cache, "cache", "", "keep compiled modules in `DIR` (default $XDG_CACHE_HOME/wcluster or ~/.cache/wcluster)")
	c.Flags().StringVar(&f.host, "host", "", "compile with the wcluster binary at `PATH` (default this one)")
	return c
}

func inspect(cmd *cobra.Command, path string, f *inspectFlags) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(master.Settings{Exec: path, Debug: f.debug, CacheDir: f.cache, Host: f.host}); err != nil {
		return usage(err)
	}
	p := newProgress(os.Stderr)
	report, err := c.Prepare(ctx, p.stage)
	p.end()
	if failed := show(cmd.OutOrStdout(), newInspection(path, &report), err, f.json); failed != nil {
		return failed
	}
	return err
}

// show prints what was learned, if anything was: err, which is of Prepare, is told by whoever called inspect.
func show(w io.Writer, i *inspection, err error, asJSON bool) error {
	var prepare *master.PrepareError
	switch {
	case err != nil && !(errors.As(err, &prepare) && prepare.Reason != ""):
		return nil
	case asJSON:
		return writeJSON(w, i)
	case i.Kind == "":
		return nil // not even a module
	default:
		return writeInspection(w, i)
	}
}

// inspection is what inspect tells: the compile child's report, and what follows from it.
type inspection struct {
	Module   string `json:"module"`
	Runnable bool   `json:"runnable"`
	Guest    string `json:"guest"` // "unaware", "worker-aware" or "cluster-aware"
	abi.Report
}

func newInspection(path string, r *abi.Report) *inspection {
	return &inspection{Module: path, Runnable: r.Error == "", Guest: awareness(r), Report: *r}
}

// clusterAware is the awareness of a guest that can play the master role.
const clusterAware = "cluster-aware"

// awareness is how much a guest knows of the cluster: nothing, its own part, or how to make workers.
func awareness(r *abi.Report) string {
	guest := "unaware"
	for _, im := range r.Imports {
		switch {
		case im.Module != abi.ImportModule:
		case im.Name == "fork":
			return clusterAware
		default:
			guest = "worker-aware"
		}
	}
	return guest
}
