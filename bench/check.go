package main

import (
	"fmt"
	"slices"
)

// The limits of --check: what wcluster promises. They hold on any machine, because the first is a ratio and the others
// have room for a slow one.
const (
	// maxCPUPerRequest is what a request may cost in CPU time, as a multiple of what native C spends on the same one: the
	// price of Wasm, of its calls to the host, and of the sandbox.
	maxCPUPerRequest = 1.3

	// maxWorkerRSS is what a worker may occupy before it has served anything, in MB: how many fit on a machine.
	maxWorkerRSS = 12

	// maxForkToOnline is how long a worker may take from its fork to its guest's first instruction, in ms: how long a
	// cluster is short of one that died.
	maxForkToOnline = 15

	// What the sandbox may cost: of a request, in CPU time and in throughput, as multiples of what it costs without; and of a
	// start, in ms.
	maxSandboxCPU   = 1.03
	maxSandboxTime  = 1 / 0.97
	maxSandboxStart = 10
)

// limited is a value that has a limit.
type limited struct {
	what     string
	measured spread
	limit    float64
	unit     string
}

func (r *result) limits() []limited {
	all := []limited{
		{"CPU per request, wcluster ÷ native-c", cpuPerRequest.of(r.Samples).ratio("wcluster", "native-c"), maxCPUPerRequest, ""},
		{"RSS of an idle worker", workerRSS.of(r.Samples).spread("wcluster"), maxWorkerRSS, " MB"},
		{"fork to online", r.ForkToOnline.spread("wcluster"), maxForkToOnline, " ms"},
	}
	if !slices.ContainsFunc(r.Servers, func(e entrant) bool { return e.Name == bare }) {
		return all
	}
	return append(all,
		limited{"CPU per request, with the sandbox ÷ without", cpuPerRequest.of(r.Samples).ratio("wcluster", bare), maxSandboxCPU, ""},
		limited{"requests per second, without the sandbox ÷ with", perSecond.of(r.Samples).ratio(bare, "wcluster"), maxSandboxTime, ""},
		limited{"fork to online, with the sandbox − without", r.ForkToOnline.difference("wcluster", bare), maxSandboxStart, " ms"},
	)
}

// check answers a line for each limit, and whether all are kept. What was not measured does not keep its limit.
func (r *result) check() (lines []string, ok bool) {
	ok = true
	for _, l := range r.limits() {
		verdict := "kept"
		switch {
		case l.measured.N == 0:
			verdict = "not measured: let wcluster and native-c take part"
		case l.measured.Median > l.limit:
			verdict = "broken"
		}
		ok = ok && verdict == "kept"
		lines = append(lines, fmt.Sprintf("%s: median %.2f%s, at most %.4g%s: %s",
			l.what, l.measured.Median, l.unit, l.limit, l.unit, verdict))
	}
	return lines, ok
}
