//go:build linux

package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// runFlags are the flags of run.
type runFlags struct {
	workers   workers
	counted   bool // -n was given
	modules   modules
	most      workers // --max-workers
	listen    listeners
	fds       descriptors
	env       variables
	silent    bool
	onMessage choice
	graceful  duration
	restart   choice
	intensity intensity
	timeout   duration
	debug     bool
	json      bool
	cache     string
	host      string
	limit     limitFlags
}

// runLong says what the flags alone do not.
const runLong = `Run a module in N worker processes that share the listening sockets, and replace
workers that die. What the workers write appears with their number in front; lines
about the cluster are on stderr.

An ADDRESS is tcp://HOST:PORT (HOST is an IP address, or empty for all; port 0 for
any that is free), tcp4://, tcp6://, unix://PATH, unix://@NAME (abstract), or fd:N
for a listening socket that wcluster itself has inherited, from systemd for
instance. Guests find these sockets open from descriptor 3 on, in order, with
LISTEN_FDS and LISTEN_FDNAMES in their environment. A guest that asks for its
sockets itself needs no --listen.

A module that forks its workers itself, through the import wcluster.fork, is started
once, in the master role, unless -n is given: then it is run in N workers like any
other. In the master role it decides what is forked and replaced; its exit code is that
of wcluster, and its workers end with it. --restart and --timeout are not for these.

SIGTERM and SIGINT end the cluster: workers finish the connections they have, within
--graceful-timeout, and wcluster exits with 0. A second one ends everything at once.

Flags can be given as environment variables: see "wcluster help environment". The
exit codes are in "wcluster help exit-codes".`

func newRun() *cobra.Command {
	f := defaultRunFlags()
	c := &cobra.Command{
		Use:   "run MODULE [flags] [-- ARGS…]",
		Short: "Run a module in several workers",
		Long:  runLong,
		Example: `  wcluster run app.wasm --listen tcp://127.0.0.1:8000
  wcluster run app.wasm -n 4 --listen http=tcp://:80 --listen admin=unix:///run/app.sock
  wcluster run app.wasm --env LEVEL=debug -- --verbose data
  wcluster run app.wasm --json --on-message print | jq .`,
		Args:                  oneModule(true),
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			f.counted = c.Flags().Changed("workers")
			return run(f, args[0], args[1:])
		},
	}
	f.define(c.Flags())
	return c
}

func defaultRunFlags() *runFlags {
	return &runFlags{
		workers:   workers(availableCPUs()),
		most:      defaultGuestWorkers,
		onMessage: choice{"drop", []string{"print", "drop"}},
		graceful:  duration{value: 30 * time.Second, min: time.Millisecond},
		restart:   choice{string(supervisor.OnFailure), []string{string(supervisor.OnFailure), string(supervisor.Always), string(supervisor.Never)}},
		intensity: intensity{supervisor.DefaultIntensity, supervisor.DefaultPeriod},
		limit:     defaultLimitFlags(),
		timeout:   duration{value: 30 * time.Second, min: time.Second, zero: "no limit"},
	}
}

func (f *runFlags) define(s *pflag.FlagSet) {
	s.SortFlags = false
	s.VarP(&f.workers, "workers", "n", "how many workers, up to 1024; auto: one for each CPU")
	s.Var(&f.modules, "module", "let a guest master fork this module; may be given several times")
	s.Var(&f.most, "max-workers", "how many workers a guest master may have at a time")
	s.Var(&f.listen, "listen", "listen there, and let every worker accept; may be given several times")
	s.Var(&f.fds, "fd", "let guests listen on descriptor N of wcluster; may be given several times")
	s.Var(&f.env, "env", "set a variable for the guests, which inherit none; may be given several times")
	s.Var(&f.restart, "restart", "replace workers that end: always, never or on-failure (not 0)")
	s.Var(&f.intensity, "restart-intensity", "restarts of workers that fail; beyond it they come ever more slowly")
	s.Var(&f.graceful, "graceful-timeout", "how long workers that leave may take to finish their connections")
	s.Var(&f.timeout, "timeout", "kill a worker that computes, or does not answer, for so long; 0: never")
	s.Var(&f.limit.sandbox, "sandbox", "lock workers down: auto, strict (or do not start), log or off")
	s.Var(&f.limit.memory, "memory", "how much memory a guest may have")
	s.Var(&f.limit.cpu, "cpu", "how many CPUs a worker may use, such as 0.5; needs a delegated cgroup")
	s.Var(&f.limit.cpuTime, "cpu-time", "end a worker that has used so much CPU time; 0: never")
	s.Var(&f.limit.fds, "max-fds", "how many descriptors a guest may have open")
	s.Var(&f.limit.connections, "max-connections", "how many connections a worker takes at a time")
	s.Var(&f.limit.message, "max-message", "how long a message may be")
	s.Var(&f.onMessage, "on-message", "what to do with messages from workers: print or drop them")
	s.BoolVar(&f.silent, "silent", false, "drop what the workers write")
	s.BoolVar(&f.json, "json", false, "print events and the workers' output as JSON, one object a line, on stdout")
	s.BoolVar(&f.debug, "debug", false, "let traps name file and line; workers start more slowly")
	s.StringVar(&f.cache, "cache", "", "keep compiled modules in `DIR` (default $XDG_CACHE_HOME/wcluster or ~/.cache/wcluster)")
	s.StringVar(&f.host, "host", "", "run the workers with the wcluster binary at `PATH` (default this one)")
}

// settings are what the flags mean to the master.
func (f *runFlags) settings(path string, args []string) master.Settings {
	names := activationNames(os.Getenv)
	for i, l := range f.listen {
		if l.Name == "" && l.Address.Network == "fd" {
			f.listen[i].Name = names[l.Address.Fd]
		}
	}
	return master.Settings{
		Exec: path, Args: args, Env: f.env, Silent: f.silent, Host: f.host, Listen: f.listen, FDs: f.fds,
		GracefulTimeout: f.graceful.value, CacheDir: f.cache, Debug: f.debug, CPUs: availableCPUs(),
		Sandbox: abi.SandboxLevel(f.limit.sandbox.value), Limits: f.limit.limits(), CPU: float64(f.limit.cpu),
		CPUTime: f.limit.cpuTime.value, MaxMessage: int(f.limit.message.value),
	}
}

// policy is what the flags mean to the supervisor.
func (f *runFlags) policy() supervisor.Policy {
	p := supervisor.Policy{
		Workers: int(f.workers), MaxWorkers: maxWorkers, Restart: supervisor.Restart(f.restart.value),
		Intensity: f.intensity.count, Period: f.intensity.period, Timeout: f.timeout.value,
	}
	if p.Timeout == 0 {
		p.Timeout = -1 // never; 0 would be the default
	}
	return p
}
