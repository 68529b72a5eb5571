package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, printer), "-n", "2"})
	c.exits(0)
	out, errs := strings.Split(c.stdout.String(), "\n"), strings.Split(c.stderr.String(), "\n")
	slices.Sort(out)
	want := []string{"[1] out 1", "[1] out 2", "[1] out without newline", "[2] out 1", "[2] out 2", "[2] out without newline"}
	if !slices.Equal(out, want) {
		t.Errorf("on stdout is %q, want %q", out, want)
	}
	for _, line := range []string{"[1] err 1", "[1] err 2", "[2] err 1", "[2] err 2"} {
		if !slices.Contains(errs, line) {
			t.Errorf("on stderr is no line %q", line)
		}
	}
	if last := errs[len(errs)-1]; last != "wcluster: 2 workers, 0 restarts, 0 connections accepted, 0 cut" {
		t.Errorf("the last line is %q", last)
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, printer), "-n", "1", "--silent"})
	c.exits(0)
	if said := c.stdout.String() + c.stderr.String(); strings.Contains(said, "out 1") || strings.Contains(said, "err 1") {
		t.Error("a worker is heard")
	}
	c.awaitErr(1, "worker 1 exited with code 0")
}

// TestGuestSees: arguments and variables reach the guest, from flags and from the environment, and nothing else does.
func TestGuestSees(t *testing.T) {
	t.Parallel()
	c := start(t, []string{
		"run", guest(t, envGuest), "--env", "LEVEL=debug", "--env", "A=x=y, z", "--listen", anyPort, "--listen", "admin=" + anyPort,
		"--", "--verbose", "two words", "--",
	}, withEnv("WCLUSTER_WORKERS=1", "WCLUSTER_ENV=NOT=this", "SECRET=1"))
	c.exits(0)
	want := `[1] arg env.wasm
[1] arg --verbose
[1] arg two words
[1] arg --
[1] env LEVEL=debug
[1] env A=x=y, z
[1] env WCLUSTER_WORKER_ID=1
[1] env NODE_WORKER_ID=1
[1] env LISTEN_FDS=2
[1] env LISTEN_FDNAMES=listen0:admin`
	if got := c.stdout.String(); got != want {
		t.Errorf("the guest sees\n%s\nwant\n%s", got, want)
	}
}

// TestEnvironment: every flag has its variable, and wins over it.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, envGuest), "--listen", "mine=" + anyPort, "-n", "2"}, withEnv(
		"WCLUSTER_WORKERS=1", "WCLUSTER_LISTEN=a="+anyPort+",b="+anyPort, "WCLUSTER_ENV=A=1,2\nB=3\n", "WCLUSTER_RESTART=never",
		"WCLUSTER_HOST="+binary()))
	c.exits(0)
	for _, line := range []string{"[2] env A=1,2", "[2] env B=3", "[1] env LISTEN_FDNAMES=mine"} {
		if !slices.Contains(strings.Split(c.stdout.String(), "\n"), line) {
			t.Errorf("on stdout is no line %q", line)
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string
		shown bool
	}{
		{"messages are dropped unless asked for", nil, false},
		{"messages are printed", []string{"--on-message", "print"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, append([]string{"run", guest(t, countC), "-n", "1", "--listen", anyPort}, c.args...))
			address := bound(t, r)
			r.awaitErr(1, `worker 1 listening`)
			visit(t, "tcp", address)
			if c.shown {
				r.awaitErr(1, `^\[1\] message: .+$`)
			}
			r.stops()
			if !c.shown && strings.Contains(r.stderr.String(), "message") {
				t.Error("a message is shown")
			}
		})
	}
}

// line is what a test wants to know of a record.
type line struct {
	Time   time.Time
	Event  string
	Worker int
	Pid    int
	Stream string
	Text   string
	Cut    bool
	Exit   *struct {
		Code   *int
		Signal string
		Reason string
		Fault  string
		Stack  string
	}
	Summary *struct{ Workers, Restarts, Accepted, Cut int }
}

func parse(t *testing.T, c *command) (all []line) {
	t.Helper()
	for _, text := range strings.Split(c.stdout.String(), "\n") {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil || l.Event == "" || l.Time.IsZero() {
			t.Errorf("line %q: %v", text, err)
		}
		all = append(all, l)
	}
	return all
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, printer), "-n", "1", "--json"})
	c.exits(0)
	all := parse(t, c)
	var events, out []string
	for _, l := range all {
		events = append(events, l.Event)
		if l.Event == "output" && l.Worker == 1 {
			out = append(out, fmt.Sprintf("%s %s %t", l.Stream, l.Text, l.Cut))
		}
	}
	slices.Sort(out)
	want := []string{"stderr err 1 false", "stderr err 2 false", "stdout out 1 false", "stdout out 2 false", "stdout out without newline true"}
	if !slices.Equal(out, want) {
		t.Errorf("output is %q, want %q", out, want)
	}
	events = slices.DeleteFunc(events, func(e string) bool { return e == "output" || e == "compile" })
	if want := []string{"sandbox", "fork", "online", "disconnect", "exit", "summary"}; !slices.Equal(events, want) {
		t.Errorf("events are %q, want %q", events, want)
	}
	last := all[len(all)-1]
	if last.Summary == nil || last.Summary.Workers != 1 {
		t.Errorf("the summary is %+v", last.Summary)
	}
	if got := c.stderr.String(); got != "" {
		t.Errorf("on stderr is %q", got)
	}
}

func TestJSONTrap(t *testing.T) {
	t.Parallel()
	c := start(t, []string{"run", guest(t, trapGuest), "-n", "1", "--json", "--restart", "never"})
	c.exits(1)
	for _, l := range parse(t, c) {
		if l.Event != "exit" {
			continue
		}
		if l.Exit == nil || l.Exit.Code == nil || *l.Exit.Code != 1 || l.Exit.Reason != "trap" || l.Exit.Fault != "unreachable" || !strings.Contains(l.Exit.Stack, "_start") {
			t.Errorf("the exit is %+v", l.Exit)
		}
		return
	}
	t.Error("no exit is told")
}

// TestClosedPipe: who reads the log does not decide whether the cluster serves.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	path := filepath.Join(t.TempDir(), "app.sock")
	cmd := newCommand([]string{"run", guest(t, helloC), "-n", "1", "--listen", "unix://" + path})
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(read, make([]byte, len("wcluster: "))); err != nil {
		t.Fatal(err)
	}
	read.Close()
	visit(t, "unix", path)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, module string
		code         int
		says         []string
	}{
		{"a server that knows of the cluster", guest(t, helloC), 0, []string{"command, worker-aware", "imports from wcluster", "imports from wasi_snapshot_preview1", "_start"}},
		{"an ordinary program", guest(t, pollC), 0, []string{"command, unaware", "sock_accept"}},
		{"an import that is not provided", writeModules(t) + "/import.wasm", 65, []string{"library, unaware", "imports from env", "missing  func()  MISSING"}},
		{"nothing to run", writeModules(t) + "/library.wasm", 65, []string{"library, unaware, 8 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, []string{"inspect", c.module})
			r.exits(c.code)
			for _, s := range c.says {
				if !strings.Contains(r.stdout.String(), s) {
					t.Errorf("stdout does not say %q", s)
				}
			}
			if lines := strings.Count(r.stderr.String(), "wcluster: "); lines != min(c.code, 1) {
				t.Errorf("stderr has %d lines", lines)
			}
		})
	}
}

func TestInspectJSON(t *testing.T) {
	t.Parallel()
	for module, want := range map[string]string{
		guest(t, helloC):                  `true command worker-aware  0`,
		writeModules(t) + "/import.wasm":  `false library unaware import 1`,
		writeModules(t) + "/text.wasm":    `false  unaware not-wasm 0`,
		writeModules(t) + "/library.wasm": `false library unaware no-entry 0`,
	} {
		cmd := newCommand([]string{"inspect", "--json", module})
		out, _ := cmd.Output() // the exit code is another test's
		var i struct {
			Runnable            bool
			Kind, Guest, Reason string
			Missing             []string
		}
		if err := json.Unmarshal(out, &i); err != nil {
			t.Errorf("%s: %v in %q", module, err, out)
		}
		if got := fmt.Sprint(i.Runnable, " ", i.Kind, " ", i.Guest, " ", i.Reason, " ", len(i.Missing)); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := newCommand([]string{"version", "--json"}).Output()
	var v struct {
		Build, Engine, Go, Platform string
		Protocol, ABI               int
	}
	if err := json.Unmarshal(out, &v); err != nil || v.Build == "" || v.Engine == "" || v.Go == "" || v.Platform == "" || v.Protocol == 0 || v.ABI == 0 {
		t.Errorf("%v in %q", err, out)
	}
	text, textErr := newCommand([]string{"version"}).Output()
	if err != nil || textErr != nil || !bytes.HasPrefix(text, []byte("wcluster "+v.Build)) {
		t.Errorf("%q, %v, %v", text, err, textErr)
	}
}

// TestHelp: every command has help with examples, on stdout.
func TestHelp(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"":                 "Examples:",
		"--help":           "Examples:",
		"run --help":       "Examples:",
		"inspect --help":   "Examples:",
		"version --help":   "Examples:",
		"help run":         "--graceful-timeout DURATION",
		"help exit-codes":  "66   the module cannot be read",
		"help environment": "WCLUSTER_GRACEFUL_TIMEOUT",
	} {
		out, err := newCommand(strings.Fields(args)).Output()
		if err != nil || !strings.Contains(string(out), says) {
			t.Errorf("%q answers %v and\n%s", args, err, out)
		}
		for _, l := range strings.Split(string(out), "\n") {
			if len(l) > 130 {
				t.Errorf("%q has a line of %d bytes: %s", args, len(l), l)
			}
		}
	}
}
