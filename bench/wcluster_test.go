package main

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

func TestForkToOnlineIsReadFromEvents(t *testing.T) {
	const (
		listener = `{"time":"2026-01-02T03:04:05.000000001Z","event":"listener","address":"tcp://127.0.0.1:1"}` + "\n"
		fork     = `{"time":"2026-01-02T03:04:05.1Z","event":"fork","worker":1,"pid":7}` + "\n"
		other    = `{"time":"2026-01-02T03:04:05.101Z","event":"online","worker":2,"pid":8}` + "\n"
		online   = `{"time":"2026-01-02T03:04:05.1031Z","event":"online","worker":1,"pid":7}` + "\n"
	)
	read := func(text string) (time.Duration, error) {
		return readForkToOnline(bufio.NewScanner(strings.NewReader(text)))
	}
	if got, err := read(listener + fork + other + online); err != nil || got != 3100*time.Microsecond {
		t.Errorf("%v, %v, want 3.1ms", got, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"the server has ended": {listener + fork, "ended before a worker was online"},
		"text among events":    {listener + "started\n" + fork, `"started"`},
	} {
		if got, err := read(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", name, got, err, c.want)
		}
	}
}
