package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sharedShop is the workshop of all tests, in which the Go peer is built once; nil before the first that needs it.
var sharedShop *workshop

// withPeer answers a workshop, and the Go peer, which is built in it.
func withPeer(t *testing.T, tools ...string) (*workshop, *server) {
	t.Helper()
	found, err := serversNamed([]string{"go"})
	if err != nil {
		t.Fatal(err)
	}
	s := *found[0]
	s.tools = append(s.tools, tools...)
	if missing := s.missing(); missing != "" {
		t.Skip(missing)
	}
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	if sharedShop == nil {
		shop, err := openWorkshop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sharedShop = shop
		if err := s.build(t.Context(), shop); err != nil {
			t.Fatal(err)
		}
	}
	s.build = nil
	return sharedShop, &s
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := descendants(os.Getpid()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %+v, %v", left, err)
	}
}

func silently() *progress { return &progress{} }

func briefly() measurement {
	return measurement{
		workers: 2, duration: time.Second, idle: 50 * time.Millisecond, attempts: 1, close: true, progress: silently(),
	}
}

func TestARunMeasuresTheGoPeer(t *testing.T) {
	shop, s := withPeer(t, "wrk")
	p := plan{servers: []*server{s}, reps: 1, seed: 1, measure: briefly(), progress: silently()}
	r, err := p.carryOut(t.Context(), shop)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) > 0 || len(r.Samples) != 1 || len(r.Servers) != 1 {
		t.Fatalf("failures %q, %d samples", r.Failures, len(r.Samples))
	}
	for _, f := range figures {
		switch v := f.value(r.Samples[0]); f.name {
		case "RSS of the idle parent, MB", "busiest worker's connections ÷ mean": // it is one process
		case "CPU at rest, % of a core", "CPU used by others, %":
			if v < 0 || v > 100 {
				t.Errorf("%s: %v", f.name, v)
			}
		default:
			if !(v > 0) {
				t.Errorf("%s: %v", f.name, v)
			}
		}
	}
	nothingLeft(t)
}

func TestAServerThatFailsIsLeftOut(t *testing.T) {
	shop, s := withPeer(t, "sh")
	for name, c := range map[string]struct{ script, want string }{
		"it ends at once":      {"echo no port is good >&2; exit 3", "has ended: exit status 3; it wrote:\n    no port is good"},
		"it ends without text": {"exit 0", "has ended: exit status 0"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := &server{name: "broken", command: func(*workshop, int, int) (command, error) {
				return command{argv: []string{"sh", "-c", c.script}}, nil
			}}
			p := plan{servers: []*server{broken}, reps: 2, measure: briefly(), progress: silently()}
			r, err := p.carryOut(t.Context(), shop)
			if err != nil || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], c.want) {
				t.Errorf("%v, failures %q, want one: %q", err, r.Failures, c.want)
			}
		})
	}
	t.Run("it has no workers", func(t *testing.T) {
		wrong := *s
		wrong.alone = false
		p := plan{servers: []*server{&wrong}, reps: 1, measure: briefly(), progress: silently()}
		r, err := p.carryOut(t.Context(), shop)
		if err != nil || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "0 worker processes, not 2") {
			t.Errorf("%v, failures %q", err, r.Failures)
		}
	})
	nothingLeft(t)
}

func TestAnInterruptedRunLeavesNothingBehind(t *testing.T) {
	shop, s := withPeer(t, "wrk")
	p := plan{servers: []*server{s}, reps: 1, measure: briefly(), progress: silently()}
	p.measure.duration = time.Minute
	interrupted := errors.New("ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		defer cancel(interrupted)
		for running := 0; running < 2 && t.Context().Err() == nil; time.Sleep(time.Millisecond) { // the server and wrk
			running = 0
			all, _ := descendants(os.Getpid())
			for _, d := range all {
				if d.name == "go-http" || d.name == "wrk" {
					running++
				}
			}
		}
	}()
	if _, err := p.carryOut(ctx, shop); !errors.Is(err, interrupted) {
		t.Errorf("a run that was ended: %v", err)
	}
	nothingLeft(t)
}

func TestAnAnswerIsChecked(t *testing.T) {
	answers := map[string]func(http.ResponseWriter){
		"":                         func(w http.ResponseWriter) { io.WriteString(w, "hello from worker 3\n") },
		"503 Service Unavailable":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		`"Welcome to nginx!", not`: func(w http.ResponseWriter) { io.WriteString(w, "Welcome to nginx!") },
	}
	for want, answer := range answers {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		err := ask(t.Context(), s.Listener.Addr().String())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
		s.Close()
	}
}

func TestAServerThatNeverAnswersIsNotWaitedForAfterCtrlC(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := ask(ctx, l.Addr().String()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server that is silent: %v", err)
	}
}

// The shell below ends at SIGTERM; its children are in groups and sessions of their own and do not hear of it.
func TestStopEndsOrphans(t *testing.T) {
	shop, _ := withPeer(t, "sh")
	ready := shop.made("ready")
	script := "(trap '' TERM; while :; do sleep 60; done) & (sleep 60 & : > " + ready + "; wait); wait"
	p, err := startProcess(&server{name: "shell"}, command{argv: []string{"sh", "-c", script}, env: shop.environment()}, shop.made("log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		} else if ended := p.alive(); ended != nil {
			t.Fatal(ended)
		}
		time.Sleep(time.Millisecond)
	}
	if all, _, err := p.family(); err != nil || len(all) < 4 {
		t.Errorf("the shell's family: %v, %v, want four", all, err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

func TestTheWorkshopIsRemoved(t *testing.T) {
	shop, err := openWorkshop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(shop.root, "go.mod")); err != nil {
		t.Errorf("the root is not the module's: %v", err)
	}
	for _, v := range shop.environment("A=b") {
		if key, _, _ := strings.Cut(v, "="); !strings.Contains(" PATH HOME TMPDIR XDG_CACHE_HOME A ", " "+key+" ") {
			t.Errorf("servers see %s", v)
		}
	}
	if err := shop.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(shop.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
