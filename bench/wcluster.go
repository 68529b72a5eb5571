package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// helloC and helloGo are the modules that are measured; the first is in the tree, the second is built.
func helloC(w *workshop) string  { return filepath.Join(w.root, "guests", "hello-c", "hello.wasm") }
func helloGo(w *workshop) string { return w.made("hello-go.wasm") }

func buildWcluster(ctx context.Context, w *workshop) error {
	return w.build(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-o", w.made("wcluster"), "./cmd/wcluster")
}

func buildHelloGo(ctx context.Context, w *workshop) error {
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}
	if err := w.build(ctx, env, "go", "build", "-o", helloGo(w), "./guests/hello-go"); err != nil {
		return err
	}
	return buildWcluster(ctx, w)
}

func wcluster(module func(*workshop) string, flags ...string) func(*workshop, int, int) (command, error) {
	return func(w *workshop, workers, port int) (command, error) {
		argv := []string{
			w.made("wcluster"), "run", module(w), "-n", strconv.Itoa(workers), "--listen", "tcp://" + address(port), "--json",
		}
		return command{append(argv, flags...), w.environment()}, nil
	}
}

// event is a line of wcluster run --json: what is read of it.
type event struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Worker int       `json:"worker"`
}

// onlineLimit is how long a worker may take from fork to online.
const onlineLimit = 30 * time.Second

// forkToOnline starts a server with one worker, so that nothing else wants the cores, and answers the time between its
// events fork and online. The time in which the fork itself was made is before the first.
func forkToOnline(ctx context.Context, w *workshop, s *server) (took time.Duration, err error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	c, err := s.command(w, 1, port)
	if err != nil {
		return 0, err
	}
	r, stdout, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make pipe for events: %w", err)
	}
	defer r.Close()
	p, err := startProcess(s, c, w.made(s.name+".log"), stdout)
	stdout.Close()
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := p.stop(); err == nil {
			err = stopErr
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, onlineLimit, errors.New("no worker is online after "+onlineLimit.String()))
	defer cancel()
	defer context.AfterFunc(ctx, func() { r.SetDeadline(time.Now()) })()
	took, err = readForkToOnline(bufio.NewScanner(r))
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, p.withLog(fmt.Errorf("read events of %s: %w", s.name, err))
	}
	return took, nil
}

// readForkToOnline reads events until a worker that was forked is online.
func readForkToOnline(lines *bufio.Scanner) (time.Duration, error) {
	forked := map[int]time.Time{}
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, fmt.Errorf("%w: %q", err, lines.Text())
		}
		switch at, ok := forked[e.Worker]; {
		case e.Event == "fork":
			forked[e.Worker] = e.Time
		case e.Event == "online" && ok:
			return e.Time.Sub(at), nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("they ended before a worker was online")
}
