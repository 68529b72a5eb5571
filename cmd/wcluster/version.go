//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/wcluster/wcluster/abi"
)

// versions is what this program is made of. Build names the release; master and workers must be of one.
type versions struct {
	Build    string `json:"build"`
	Commit   string `json:"commit,omitempty"`
	Protocol int    `json:"protocol"` // of the frames between master and workers
	ABI      int    `json:"abi"`      // of the imports of guests
	Engine   string `json:"engine"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of wcluster and its parts",
		Long: `Print the build, the versions of the protocol between master and workers and of
the guest ABI, the Wasm engine, the Go release and the platform.`,
		Example: "  wcluster version\n  wcluster version --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{
				Build: abi.Build, Commit: commit(), Protocol: abi.Protocol, ABI: abi.Version, Engine: abi.Engine,
				Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), v)
			}
			return v.write(cmd.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// none is the Args of commands that take none.
func none(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(fmt.Errorf("unexpected argument %q; %s takes none", args[0], cmd.Name()))
}

func (v versions) write(w io.Writer) error {
	build := v.Build
	if v.Commit != "" {
		build += " (" + v.Commit + ")"
	}
	_, err := fmt.Fprintf(w, "wcluster %s\nprotocol %d\nabi      %d\nengine   %s\ngo       %s\nplatform %s\n",
		build, v.Protocol, v.ABI, v.Engine, v.Go, v.Platform)
	return err
}

// commit is what the Go tool has noted of the source, or "".
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

// writeJSON is one object on lines of its own, for people as for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
