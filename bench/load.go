package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// loadConnections is how many clients wrk plays, from one thread: enough that no server waits for it, few enough that
// queues say nothing.
const loadConnections = 64

// wrkFigures is what wrk tells of a load.
type wrkFigures struct {
	Requests     int     `json:"requests"`
	PerSecond    float64 `json:"requests_per_second"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	SocketErrors int     `json:"socket_errors"`  // on connect, read and write
	Timeouts     int     `json:"timeouts"`       // answers that took more than wrk's 2 s
	Refused      int     `json:"other_statuses"` // answers outside 200 … 399
}

// wrong tells of what must not be, or answers "".
func (f wrkFigures) wrong() string {
	if f.SocketErrors+f.Timeouts+f.Refused == 0 {
		return ""
	}
	return fmt.Sprintf("%d socket errors, %d timeouts, %d answers that were no success: all must be 0",
		f.SocketErrors, f.Timeouts, f.Refused)
}

// worst takes the errors of another load over where they are more.
func (f *wrkFigures) worst(of wrkFigures) {
	f.SocketErrors = max(f.SocketErrors, of.SocketErrors)
	f.Timeouts = max(f.Timeouts, of.Timeouts)
	f.Refused = max(f.Refused, of.Refused)
}

// wrk is a load that runs.
type wrk struct {
	cmd *exec.Cmd
	out strings.Builder
}

// startWrk loads a server for whole seconds. Without keepAlive every request has a connection of its own.
func startWrk(ctx context.Context, address string, d time.Duration, keepAlive bool) (*wrk, error) {
	args := []string{"-t1", "-c" + strconv.Itoa(loadConnections), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency"}
	if !keepAlive {
		args = append(args, "-H", "Connection: close")
	}
	w := &wrk{cmd: exec.CommandContext(ctx, "wrk", append(args, "http://"+address+"/")...)}
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.out
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start wrk: %w", err)
	}
	return w, nil
}

// wait returns wrk's figures and the CPU time that it has used itself.
func (w *wrk) wait() (wrkFigures, time.Duration, error) {
	if err := w.cmd.Wait(); err != nil {
		return wrkFigures{}, 0, fmt.Errorf("run wrk: %w; it wrote: %s", err, strings.TrimSpace(w.out.String()))
	}
	figures, err := parseWrk(w.out.String())
	if err != nil {
		return wrkFigures{}, 0, fmt.Errorf("read figures of wrk: %w; it wrote: %s", err, strings.TrimSpace(w.out.String()))
	}
	return figures, w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime(), nil
}

// The lines of wrk 4 that are read. Those on errors are absent when there were none.
var (
	wrkRequests  = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkPerSecond = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	wrkLatency   = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([\d.]+)(us|ms|s|m|h)\s*$`)
	wrkErrors    = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatuses  = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// wrkUnits in milliseconds.
var wrkUnits = map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3, "m": 60e3, "h": 3600e3}

func parseWrk(out string) (wrkFigures, error) {
	var f wrkFigures
	requests, perSecond := wrkRequests.FindStringSubmatch(out), wrkPerSecond.FindStringSubmatch(out)
	if requests == nil || perSecond == nil {
		return f, errors.New("no number of requests in its output; wrk 4 has one")
	}
	f.Requests, _ = strconv.Atoi(requests[1])
	if f.Requests == 0 {
		return f, errors.New("no request was answered")
	}
	f.PerSecond, _ = strconv.ParseFloat(perSecond[1], 64)
	for _, m := range wrkLatency.FindAllStringSubmatch(out, -1) {
		value, _ := strconv.ParseFloat(m[2], 64)
		if value *= wrkUnits[m[3]]; m[1] == "50" {
			f.P50 = value
		} else {
			f.P99 = value
		}
	}
	if f.P50 == 0 || f.P99 == 0 {
		return f, errors.New("no latencies in its output; wrk 4 has them with --latency")
	}
	if m := wrkErrors.FindStringSubmatch(out); m != nil {
		for _, n := range m[1:4] {
			count, _ := strconv.Atoi(n)
			f.SocketErrors += count
		}
		f.Timeouts, _ = strconv.Atoi(m[4])
	}
	if m := wrkStatuses.FindStringSubmatch(out); m != nil {
		f.Refused, _ = strconv.Atoi(m[1])
	}
	return f, nil
}
