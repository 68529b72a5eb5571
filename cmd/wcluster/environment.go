//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// environmentPrefix begins the name of every variable that stands for a flag.
const environmentPrefix = "WCLUSTER_"

const environmentHelp = `Every flag of a command can be given as a variable: WCLUSTER_ and the flag's name
in capitals, with _ for -. A flag on the command line wins over the variable, and
the variable over the default. An empty variable counts as none.

    WCLUSTER_WORKERS=4                     --workers 4  (-n 4)
    WCLUSTER_LISTEN=tcp://:80,tcp://:443   --listen tcp://:80 --listen tcp://:443
    WCLUSTER_GRACEFUL_TIMEOUT=10s          --graceful-timeout 10s
    WCLUSTER_SILENT=true                   --silent

Lists (WCLUSTER_LISTEN, WCLUSTER_FD) are separated by commas; WCLUSTER_ENV by line
ends, because its values may contain commas. A flag that is given at all replaces
the whole list of its variable.

Guests inherit nothing of this environment: give them theirs with --env. They find
WCLUSTER_WORKER_ID and NODE_WORKER_ID, and LISTEN_FDS and LISTEN_FDNAMES when there
are --listen sockets.

NO_COLOR, if not empty, keeps colours out of what a terminal shows.
`

// list is a flag that may be given several times, and so a variable that has several values.
type list interface {
	separator() string
}

// fromEnvironment sets each flag that was not given and whose variable is not empty.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) string) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := environmentPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if text := getenv(name); err == nil && text != "" && !f.Changed && f.Name != "help" {
			err = setFrom(f, name, text)
		}
	})
	return err
}

func setFrom(f *pflag.Flag, variable, text string) error {
	values := []string{text}
	if l, ok := f.Value.(list); ok {
		values = strings.Split(text, l.separator())
	}
	for _, v := range values {
		if v = strings.TrimSpace(v); v == "" && len(values) > 1 {
			continue // after the last separator
		}
		if err := f.Value.Set(v); err != nil {
			return usage(fmt.Errorf("%s %q: %w", variable, v, valueError(f, err)))
		}
	}
	f.Changed = true
	return nil
}
