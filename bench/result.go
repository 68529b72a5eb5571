package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// result is all that a run has measured.
type result struct {
	Machine  machine   `json:"machine"`
	Settings settings  `json:"settings"`
	Servers  []entrant `json:"servers"` // those that took part
	Samples  []*sample `json:"samples"`

	// ForkToOnline in ms, by server and number of the fork.
	ForkToOnline series `json:"fork_to_online_ms"`

	// Failures are what makes the figures worthless: a server that failed, a request that was not answered.
	Failures []string `json:"failures,omitempty"`
}

// settings are the flags that the figures depend on.
type settings struct {
	Workers     int     `json:"workers"`
	Seconds     float64 `json:"seconds"`
	Repetitions int     `json:"repetitions"`
	Connections int     `json:"connections"`
	Seed        uint64  `json:"seed"`
}

// entrant is a server that took part.
type entrant struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Version string `json:"version,omitempty"`
	subject bool
}

// machine is what the figures were measured on.
type machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), CPU: runtime.GOARCH, Kernel: "Linux"}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		m.Kernel += " " + unix.ByteSliceToString(u.Release[:])
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "model name" { // absent on arm64
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func (r *result) fail(format string, args ...any) {
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// add takes a sample in, and what was wrong with it.
func (r *result) add(s *sample) {
	r.Samples = append(r.Samples, s)
	loads := map[string]*loadFigures{"keep-alive": &s.KeepAlive, "close": s.Close}
	for _, kind := range []string{"keep-alive", "close"} {
		if f := loads[kind]; f != nil && f.wrong() != "" {
			r.fail("%s, repetition %d, %s: %s", s.Server, s.Repetition, kind, f.wrong())
		}
	}
}

// subjects are the names of the servers that are ours.
func (r *result) subjects() (names []string) {
	for _, e := range r.Servers {
		if e.subject {
			names = append(names, e.Name)
		}
	}
	return names
}
