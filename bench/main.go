package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	workers  int
	duration time.Duration
	reps     int
	servers  string
	seed     uint64
	close    bool
	quick    bool
	check    bool
	json     string
}

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell has it for SIGINT
)

// forks is how many times fork to online is measured: the median of fewer moves.
const forks = 20

func main() {
	// The kernel ends our servers when the thread that has started them ends (PR_SET_PDEATHSIG, prctl(2)): so that must
	// be one that lives as long as we do.
	runtime.LockOSThread()
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := o.run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted; all servers were stopped")
		os.Exit(exitInterrupted)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailed)
	case !ok:
		os.Exit(exitFailed)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard) // an error is one line, which main prints
	f.Usage = func() {}
	f.IntVar(&o.workers, "n", 2, "`workers` of each server")
	f.DurationVar(&o.duration, "d", 3*time.Second, "`duration` of a load, in whole seconds")
	f.IntVar(&o.reps, "reps", 5, "`repetitions`")
	f.StringVar(&o.servers, "servers", "", "`names` of the servers, with commas; of "+strings.Join(serverNames(), ", "))
	f.Uint64Var(&o.seed, "seed", 0, "`number` that the order of the servers follows from; 0 chooses one")
	f.BoolVar(&o.close, "close", false, "also load with a new connection for each request")
	f.BoolVar(&o.quick, "quick", false, "one repetition of 1 s, and no slow builds: shows that all works, not what it measures")
	f.BoolVar(&o.check, "check", false, "exit 1 when wcluster exceeds one of its limits")
	f.StringVar(&o.json, "json", "", "also write all figures to this `file`")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		f.SetOutput(os.Stdout)
		fmt.Println("Measures wcluster beside servers that do the same work. See bench/README.md.")
		f.PrintDefaults()
		return o, err
	} else if err != nil {
		return o, fmt.Errorf("%w; see --help", err)
	}
	if o.quick {
		o.reps, o.duration = 1, time.Second
	}
	for o.seed == 0 {
		o.seed = rand.Uint64N(1e6)
	}
	return o, o.valid(f.Args())
}

func (o options) valid(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; bench has flags alone", rest[0])
	case o.workers < 1:
		return fmt.Errorf("-n %d: choose at least 1 worker", o.workers)
	case o.reps < 1:
		return fmt.Errorf("-reps %d: choose at least 1 repetition", o.reps)
	case o.duration < time.Second || o.duration%time.Second != 0:
		return fmt.Errorf("-d %v: choose whole seconds, which is all that wrk knows", o.duration)
	}
	return nil
}

// run carries the options out. It answers false when it has reported something that must not be.
func (o options) run(ctx context.Context) (ok bool, err error) {
	p, err := o.plan()
	if err != nil {
		return false, err
	}
	if _, err := findTool("wrk"); err != nil {
		return false, fmt.Errorf("find wrk: %w; it makes the load: install %s", err, packages["wrk"])
	}
	if err := adoptOrphans(); err != nil {
		return false, err
	}
	shop, err := openWorkshop(ctx)
	if err != nil {
		return false, err
	}
	r, err := p.carryOut(ctx, shop)
	if err := errors.Join(err, shop.close()); err != nil {
		return false, err
	}
	return o.report(r)
}

func (o options) plan() (plan, error) {
	chosen := defaultServers(o.quick)
	if o.servers != "" {
		var err error
		if chosen, err = serversNamed(strings.Split(o.servers, ",")); err != nil {
			return plan{}, err
		}
	}
	bar := newProgress(os.Stderr)
	m := measurement{
		workers: o.workers, duration: o.duration, idle: time.Second, warm: time.Second, attempts: 3,
		close: o.close, progress: bar,
	}
	if o.quick {
		m.idle, m.warm, m.attempts = 200*time.Millisecond, 0, 1
	}
	p := plan{servers: chosen, reps: o.reps, seed: o.seed, forks: forks, peerForks: forks, measure: m, progress: bar}
	if o.quick {
		p.peerForks = 1
	}
	return p, nil
}

func (o options) report(r *result) (ok bool, err error) {
	r.print(os.Stdout)
	ok = len(r.Failures) == 0
	if o.check {
		lines, kept := r.check()
		fmt.Printf("\n%s\n", strings.Join(lines, "\n"))
		ok = ok && kept
	}
	if o.json != "" {
		return ok, r.write(o.json)
	}
	return ok, nil
}
