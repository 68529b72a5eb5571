//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	var host string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Tell how well this host can lock workers down",
		Long: `Try every layer of the sandbox in a process of its own, and tell which this host
has, and why not the others. The exit code is 0 when "wcluster run --sandbox=strict"
would start here, else 78.`,
		Example: "  wcluster doctor\n  wcluster doctor --json | jq .strict",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := diagnose(host)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), d)
			} else {
				err = d.write(cmd.OutOrStdout())
			}
			if err == nil && !d.Strict {
				err = &exitError{exitSandbox, errSaid}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().StringVar(&host, "host", "", "try it with the wcluster binary at `PATH` (default this one)")
	return c
}

// diagnosis is what doctor tells.
type diagnosis struct {
	Kernel  string      `json:"kernel"`
	Arch    string      `json:"arch"`
	User    int         `json:"user"`
	Strict  bool        `json:"strict"` // whether --sandbox=strict would start
	Auto    string      `json:"auto"`   // what every worker has with --sandbox=auto
	Layers  []diagnosed `json:"layers"`
	CPU     bool        `json:"cpu"` // whether --cpu has an effect
	CPUNote string      `json:"cpuNote,omitempty"`
}

type diagnosed struct {
	Layer    abi.Layer `json:"layer"`
	Present  bool      `json:"present"`
	Required bool      `json:"required"` // by --sandbox=strict
	Error    string    `json:"error,omitempty"`
	Note     string    `json:"note,omitempty"`
}

func diagnose(host string) (*diagnosis, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(master.Settings{Host: host}); err != nil {
		return nil, usage(err)
	}
	found, err := c.ProbeSandbox(ctx)
	if err != nil {
		return nil, err
	}
	d := &diagnosis{Kernel: kernelRelease(), Arch: runtime.GOARCH, User: unix.Geteuid(), Strict: true, Auto: string(master.ConfinedFully)}
	for _, l := range found {
		present := l.Error == ""
		d.Layers = append(d.Layers, diagnosed{Layer: l.Layer, Present: present, Required: l.Layer.Required(), Error: l.Error, Note: l.Note})
		if !present && l.Layer.Required() {
			d.Strict, d.Auto = false, string(master.ConfinedPartly)
		}
	}
	d.CPU = true
	if err := master.CanLimitCPU(); err != nil {
		d.CPU, d.CPUNote = false, err.Error()
	}
	return d, nil
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (d *diagnosis) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s, %s, user %d\n\n", d.Kernel, d.Arch, d.User)
	table(&b, func(t io.Writer) {
		for _, l := range d.Layers {
			state := "yes"
			switch {
			case !l.Present && l.Required:
				state = "MISSING"
			case !l.Present:
				state = "no"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", l.Layer, state, oneLine(l.Error+l.Note))
		}
		state := "yes"
		if !d.CPU {
			state = "no"
		}
		fmt.Fprintf(t, "--cpu\t%s\t%s\n", state, oneLine(d.CPUNote))
	})
	b.WriteString("\n" + d.verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (d *diagnosis) verdict() string {
	if d.Strict {
		return "Workers are locked down fully, with --sandbox=auto (the default) as with strict."
	}
	return "With --sandbox=auto (the default) workers are locked down with the layers that are there; strict refuses to start."
}
